"""What a function can see and reach from inside, and what it can use up."""
import contextlib
import json
import pathlib
import re
import socket

import pytest

from support import wait_until

SHELL = "faas-tests/sh:latest"


@pytest.fixture(scope="module")
def shell(client):
    """Runs a script as a function without a network; its output."""
    name = client.register(SHELL)

    def run(script):
        answer = client.call(name, script)
        assert answer.status == 200, (answer.status, answer.text)
        return answer.text
    return run


@contextlib.contextmanager
def held(platform, client, name, argument):
    """A call that runs while the block does, and ends because its client leaves."""
    before = len(platform.running())
    body = json.dumps({"name": name, "argument": argument}).encode()
    with socket.create_connection((client.url.hostname, client.url.port)) as s:
        s.sendall(b"POST /publisher/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + client.token.encode()
                  + b"\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body)
        wait_until(lambda: len(platform.running()) > before, 20, "the container runs")
        yield
        assert len(platform.running()) > before, "the held call ended too early"
    wait_until(lambda: len(platform.running()) <= before, 20, "the held container is gone")


def test_nothing_of_ours_is_handed_to_a_function(platform, shell, promise):
    files = shell("ls /proc/1/fd").split()
    assert files == ["0", "1", "2"], files
    names = {line.split("=")[0] for line in shell("tr '\\0' '\\n' </proc/1/environ").splitlines()}
    assert names == {"PATH", "HOSTNAME", "HOME"}, names
    seen = shell("cat /proc/1/cmdline /proc/1/mountinfo /proc/mounts; find / -xdev -name '*.seed' -o -xdev -name '*.pem'")
    assert platform.data not in seen and ".seed\n" not in seen and ".pem\n" not in seen, seen
    promise(19, "0 descriptors but 0, 1 and 2; 0 variables but PATH, HOSTNAME and HOME; 0 key files")


def test_a_function_without_a_network_reaches_nobody(platform, engine, shell, promise):
    conf = "".join(p.read_text() for p in pathlib.Path(platform.data).rglob("*.conf"))
    ports = [int(platform.listen.split(":")[1]), *sorted({int(p) for p in re.findall(r"127\.0\.0\.1:(\d+)", conf)})]
    for port in ports:  # they listen: from here each is reached
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    targets = [f"{host} {port}" for host in ("127.0.0.1", "172.17.0.1") for port in ports] + ["169.254.169.254 80", "10.0.0.1 80"]
    tries = "; ".join(f"nc -w 1 {t} </dev/null && echo reached {t}" for t in targets)
    control = "nc -l -p 7777 >/dev/null & until nc -w 1 127.0.0.1 7777 </dev/null; do :; done; echo control"
    seen = shell(f"({tries}) 2>/dev/null; ({control}) 2>/dev/null")
    assert seen == "control\n", seen
    sockets = shell(f"ls {engine.removeprefix('unix://')} /var/run/docker.sock /run/docker.sock 2>/dev/null; true")
    assert sockets == "", sockets
    promise(20, f"0 of {len(targets)} addresses of the host, NATS, the gateway and metadata reached; 0 engine sockets")


def test_functions_of_two_users_do_not_meet(platform, client, other, promise):
    mine, theirs = client.register(SHELL), other.register(SHELL)
    look = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ /tmp/* /dev/shm/* 2>/dev/null; cat /proc/sysvipc/shm; true"
    leave = "echo a-mark-of-mine >/tmp/mark; echo a-mark-of-mine >/dev/shm/mark; "
    assert client.call(mine, leave + look).text.count("a-mark-of-mine") >= 4  # what there is to be seen
    with held(platform, client, mine, leave + "sleep 60"):
        seen = other.call(theirs, look)
        assert seen.status == 200 and "a-mark-of-mine" not in seen.text, seen.text
        again = client.call(mine, look)  # nor does one call meet the next
        assert again.status == 200 and "a-mark-of-mine" not in again.text, again.text
    promise(21, "0 marks of a running function seen by another user's, 0 by the next call of its own")


BOMBS = {
    "processes": ("fail", "pids 1000", lambda a: int(re.match(r"children=(\d+)", a.text)[1]) < 128),
    "a fork bomb": ("sh", "f() { f | f & }; f 2>/dev/null; echo lit", lambda a: a.status in (200, 502)),
    "memory": ("fail", "oom", lambda a: a.problem(502, "function_failed")["oom"]),
    "disk": ("sh", "dd if=/dev/zero of=/tmp/x bs=1M count=500 2>/dev/null; wc -c </tmp/x", lambda a: int(a.text) <= 64 * 1024 * 1024),
    "shared memory": ("sh", "dd if=/dev/zero of=/dev/shm/x bs=1M count=500 2>/dev/null; wc -c </dev/shm/x", lambda a: int(a.text) <= 8 * 1024 * 1024),
    "files": ("sh", "cd /tmp; seq 40000 | xargs touch 2>/dev/null; ls | wc -l", lambda a: 1000 < int(a.text) <= 16384),
    "descriptors": ("sh", "ulimit -n 4096 2>/dev/null; ulimit -n", lambda a: int(a.text) == 1024),
    "processor": ("fail", "spin 2000", lambda a: int(a.text.removeprefix("cpu_ms=")) <= 0.2 * float(a.headers["X-Duration-Ms"]) + 200, {"cpus": 0.2}),
    "the image's own files": ("sh", "echo x 2>/dev/null >/bin/x || echo read-only", lambda a: a.text == "read-only\n"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_contained(platform, client, other, functions, bomb, promise):
    image, argument, is_contained, *limits = BOMBS[bomb]
    name = other.register(f"faas-tests/{image}:latest", timeout_ms=20000, limits=limits[0] if limits else {})
    answer = other.call(name, argument)
    assert is_contained(answer), (answer.status, answer.text[:300])
    assert client.call("echo", "a neighbour").body == b"a neighbour"
    wait_until(lambda: platform.running() == [], 20, "nothing of it runs on")
    promise(22, "contained, 1 of 1 calls of a neighbour answered after it, 0 containers run on")
