"""The steady load: calls of three functions with unique arguments, each through one gateway, each remembered."""
import dataclasses
import http.client
import itertools
import json
import math
import select
import threading
import time

KINDS = ("plain", "count", "slow")
ANSWER_S = 60       # an answer that takes longer counts as none
IDLE_S = 5          # a connection that was silent so long may just be closed by the other side
CONNECT_PAUSE_S = 0.02  # a gateway that just died comes back soon


@dataclasses.dataclass
class Call:
    """One call as its client saw it; times are of time.monotonic()."""
    kind: str
    key: str
    gateway: int
    sent: float
    ended: float = 0.0
    status: int = 0       # 0: no answer
    code: str = ""        # of a problem; "crossed": another call's answer; "broken", "silent": no answer
    detail: str = ""
    call_id: str = ""
    may_have_run: bool = False

    @property
    def took(self):
        return self.ended - self.sent


class Line:
    """A kept connection to one gateway."""

    def __init__(self, port, token):
        self.port, self.token, self.conn, self.used = port, token, None, 0.0

    def connect(self):
        """False: nobody listens there now.  A kept connection that the other side has closed is replaced."""
        is_old = time.monotonic() > self.used + IDLE_S
        if self.conn is not None and (is_old or select.select([self.conn.sock], [], [], 0)[0]):
            self.close()
        if self.conn is None:
            conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
            try:
                conn.connect()
            except OSError:
                return False
            self.conn, self.used = conn, time.monotonic()
        return True

    def ask(self, method, path, body=b"", **headers):
        """(status, headers, body); OSError or HTTPException when the connection broke, TimeoutError when nothing came."""
        try:
            self.conn.request(method, path, body, {"Authorization": f"Bearer {self.token}", **headers})
            response = self.conn.getresponse()
            got = response.status, response.headers, response.read()
            self.used = time.monotonic()
            if response.will_close:
                self.close()
            return got
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def close(self):
        if self.conn is not None:
            self.conn.close()
        self.conn = None


class Caller(threading.Thread):
    """One client of one gateway and one function: calls per_s times a second while answers are quick, never two at once.

    Those of a load begin one after the other, so that their calls are spread over time: what is between two answers is an outage, not a pause.
    """

    def __init__(self, name, kind, gateway, port, token, counter, per_s, offset_s):
        super().__init__(daemon=True)
        self.label, self.kind, self.gateway, self.per_s, self.offset_s = name, kind, gateway, per_s, offset_s
        self.prefix = f"count:{counter} " if kind == "count" else f"{kind} "
        self.line = Line(port, token)
        self.calls, self.refused_connections = [], 0
        self.must_stop = threading.Event()

    def run(self):
        due = time.monotonic() + self.offset_s
        for number in itertools.count():
            if self.must_stop.wait(max(0, due - time.monotonic())):
                break
            self.one(f"{self.label}-{number}")
            due = self.next_due(due)
        self.line.close()

    def next_due(self, due):
        """A turn of its own that is still to come; none is made up for."""
        now = time.monotonic()
        return due + max(1, math.ceil((now - due) * self.per_s)) / self.per_s

    def one(self, key):
        while not self.line.connect():
            self.refused_connections += 1
            if self.must_stop.wait(CONNECT_PAUSE_S):
                return
        argument = self.prefix + key
        call = Call(self.kind, key, self.gateway, time.monotonic())
        self.calls.append(call)
        try:
            status, headers, body = self.line.ask("POST", f"/function/{self.kind}", argument.encode())
        except TimeoutError:
            call.code = "silent"
        except (OSError, http.client.HTTPException) as error:
            call.code, call.detail = "broken", repr(error)
        else:
            self.judge(call, status, headers, body, argument)
        call.ended = time.monotonic()

    @staticmethod
    def judge(call, status, headers, body, argument):
        call.status, call.call_id = status, headers.get("X-Call-Id", "")
        if status == 200:
            if body != f"done {argument}".encode():
                call.code, call.detail = "crossed", repr(body[:200])
            return
        try:
            problem = json.loads(body)
        except ValueError:
            problem = {}
        call.code, call.detail = problem.get("code", "unreadable"), problem.get("detail", repr(body[:200]))
        call.may_have_run = problem.get("may_have_run") is True


class Load:
    """callers: kind -> (clients for each gateway, calls a second of each)."""

    def __init__(self, world, token, seed, callers):
        which = [(kind, gateway, n) for kind, (count, _) in callers.items() for gateway in range(len(world.gateways)) for n in range(count)]
        self.callers = [Caller(f"{seed}.{kind}{gateway}.{n}", kind, gateway, world.port(gateway), token, world.counter_address, callers[kind][1],
                               number / len(which) / callers[kind][1]) for number, (kind, gateway, n) in enumerate(which)]

    def start(self):
        for caller in self.callers:
            caller.start()

    def flows(self):
        return all(any(c.status == 200 for c in caller.calls) for caller in self.callers)

    def stop(self):
        """All calls, by the time they were sent; those that are out are waited for."""
        for caller in self.callers:
            caller.must_stop.set()
        for caller in self.callers:
            caller.join()
        return sorted((c for caller in self.callers for c in caller.calls), key=lambda c: c.sent)
