"""Counts runs of functions from outside their sandboxes: counter.py LOG listens on port 53 of every address.

Each connection brings one line, a key; it is written to LOG, and only then answered.  A run whose key is not in LOG never got as far
as its effect.
"""
import selectors
import socket
import sys


def main(path):
    with open(path, "a", buffering=1) as log, socket.create_server(("0.0.0.0", 53), backlog=512) as listener:
        poll = selectors.DefaultSelector()
        listener.setblocking(False)
        poll.register(listener, selectors.EVENT_READ, None)
        while True:
            for key, _ in poll.select():
                if key.data is None:
                    conn = listener.accept()[0]
                    conn.settimeout(1)
                    poll.register(conn, selectors.EVENT_READ, bytearray())
                elif not served(log, key.fileobj, key.data):
                    poll.unregister(key.fileobj)
                    key.fileobj.close()


def served(log, conn, line):
    """Reads on; False when the connection is done with."""
    try:
        piece = conn.recv(1024)
        line += piece
        if piece and line.endswith(b"\n"):
            log.write(line.decode())
            conn.sendall(b"1")
        return bool(piece)
    except OSError:
        return False


if __name__ == "__main__":
    main(sys.argv[1])
