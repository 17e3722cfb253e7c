"""The stream of writes: each writer has an account of its own and knows, for each of its functions, what may be stored now.

An acknowledged write leaves one possibility.  One without a clear answer may happen later, until its deadline, and only once.
A read that shows anything else is a lost (or an invented) write.
"""
import dataclasses
import http.client
import itertools
import json
import random
import threading
import time

from load import CONNECT_PAUSE_S, Line

ABSENT = None
NAMES = 4      # functions of each writer
LATEST_S = 30  # a write whose answer was lost ends by then: every deadline of a write is shorter


@dataclasses.dataclass
class Op:
    """One operation as its client saw it."""
    what: str
    name: str
    gateway: int
    sent: float
    value: str = ""
    ended: float = 0.0
    status: int = 0  # 0: no answer
    detail: str = ""

    @property
    def is_acknowledged(self):
        return 200 <= self.status < 300

    @property
    def took(self):
        return self.ended - self.sent


class Known:
    """What one name holds: a value, ABSENT for no function; and for a while what writes without an answer may still make of it."""

    def __init__(self):
        self.value, self.pending = ABSENT, []

    def wrote(self, value):
        self.value = value

    def may_write(self, value):
        self.pending.append((value, time.monotonic() + LATEST_S))

    def is_sure(self):
        self.pending = [p for p in self.pending if p[1] > time.monotonic()]
        return not self.pending

    def read(self, value):
        """False: that cannot be."""
        if value == self.value:
            return True
        found = next((p for p in self.pending if p[0] == value), None)
        if found is not None:
            self.pending.remove(found)
        self.value = value  # go on from there
        return found is not None

    def __str__(self):
        return f"{self.value!r}" + "".join(f" or {value!r}" for value, _ in self.pending)


class Writer(threading.Thread):
    """Operations one after the other, per_s a second while answers are quick, through gateway after gateway."""

    def __init__(self, label, ports, token, seed, per_s):
        super().__init__(daemon=True)
        self.label, self.per_s, self.rng = label, per_s, random.Random(f"{seed}{label}")
        self.lines = [Line(port, token) for port in ports]
        self.known = {f"w{n}": Known() for n in range(NAMES)}
        self.ops, self.wrong = [], []
        self.values = itertools.count()
        self.must_stop = threading.Event()

    def run(self):
        due = time.monotonic()
        while not self.must_stop.is_set():
            name = self.rng.choice(sorted(self.known))
            self.step(name, self.rng.randrange(len(self.lines)))
            due = max(due + 1 / self.per_s, time.monotonic() - 1)
            self.must_stop.wait(max(0, due - time.monotonic()))

    def step(self, name, gateway):
        known = self.known[name]
        if self.rng.random() < (0.2 if known.is_sure() else 0.6):
            self.read(name, gateway)
        elif self.rng.random() < 0.15:
            self.list(gateway)
        elif known.value is ABSENT:
            self.write("register", name, gateway, "POST", "/registry/register", {"payload": "chaos:1", "retry": {"idempotent": True}})
        elif self.rng.random() < 0.2:
            self.write("delete", name, gateway, "DELETE", "/registry/delete", None)
        else:
            self.write("update", name, gateway, "PUT", "/registry/update", {})

    def write(self, what, name, gateway, method, path, fields):
        value = ABSENT if fields is None else f"{self.label}.{next(self.values)}"
        body = {"name": name} if fields is None else {"name": name, "description": value, **fields}
        op = self.ask(Op(what, name, gateway, time.monotonic(), value or ""), method, path, body)[0]
        if op.is_acknowledged:
            self.known[name].wrote(value)
        elif op.status == 0 or op.status >= 500:
            self.known[name].may_write(value)
        elif op.status not in (408, 429) and self.known[name].is_sure():  # nobody else writes here
            self.wrong.append((op, f"{what} of {name} was refused ({op.status} {op.detail}), but it holds {self.known[name]}"))

    def read(self, name, gateway):
        op, body = self.ask(Op("retrieve", name, gateway, time.monotonic()), "GET", f"/registry/retrieve?name={name}", None)
        if op.status == 200:
            self.compare(op, name, body["description"])
        elif op.status == 404:
            self.compare(op, name, ABSENT)

    def list(self, gateway):
        op, body = self.ask(Op("list", "", gateway, time.monotonic()), "GET", "/registry/list", None)
        if op.status == 200:
            shown = {record["name"]: record["description"] for record in body}
            for name in self.known:
                self.compare(op, name, shown.get(name, ABSENT))

    def compare(self, op, name, value):
        before = str(self.known[name])
        if not self.known[name].read(value):
            op.value = str(value)
            self.wrong.append((op, f"{op.what} shows {name} = {value!r}, written was {before}"))

    def ask(self, op, method, path, body):
        """The finished operation, and its answer's document."""
        line = self.lines[op.gateway]
        while not line.connect():
            if self.must_stop.wait(CONNECT_PAUSE_S):
                op.ended = time.monotonic()
                return op, None
            op.sent = time.monotonic()
        self.ops.append(op)
        document = None
        try:
            op.status, _, answer = line.ask(method, path, b"" if body is None else json.dumps(body).encode())
            document = json.loads(answer) if answer else None
            if op.status >= 400:
                op.detail = str(document.get("detail"))
        except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
            op.detail = repr(error)
        op.ended = time.monotonic()
        return op, document

    def settle(self):
        """After the run: every name through every gateway, more than once, for each may have its own replica of the registry."""
        for line in self.lines:
            line.close()
        for gateway in range(len(self.lines)):
            for _ in range(4):
                self.list(gateway)
                for name in sorted(self.known):
                    self.read(name, gateway)


class Accounts(threading.Thread):
    """Registers users, one after the other; each that was acknowledged must be able to log in ever after."""

    def __init__(self, ports, seed, per_s):
        super().__init__(daemon=True)
        self.rng, self.per_s, self.seed = random.Random(f"{seed}accounts"), per_s, seed
        self.lines = [Line(port, "") for port in ports]
        self.ops, self.wrong, self.names = [], [], []
        self.must_stop = threading.Event()

    ask = Writer.ask

    def run(self):
        for number in itertools.count():
            if self.must_stop.wait(1 / self.per_s):
                break
            name, gateway = f"a{number}", self.rng.randrange(len(self.lines))
            op = self.ask(Op("account", name, gateway, time.monotonic()), "POST", "/auth/register", self.words(name))[0]
            if op.is_acknowledged:
                self.names.append(name)

    def words(self, name):
        return {"username": name, "password": f"chaos-{self.seed}-{name}"}

    def settle(self):
        self.must_stop.clear()
        for name in self.names:
            op = self.ask(Op("login", name, 0, time.monotonic()), "POST", "/auth/login", self.words(name))[0]
            if not op.is_acknowledged:
                self.wrong.append((op, f"account {name} was acknowledged, and cannot log in: {op.status} {op.detail}"))


class Writes:
    def __init__(self, world, users, seed, per_s=5.0, accounts_per_s=0.5):
        ports = [world.port(g) for g in range(len(world.gateways))]
        self.all = [Writer(f"w{n}", ports, user.token, seed, per_s) for n, user in enumerate(users)]
        self.all.append(Accounts(ports, seed, accounts_per_s))

    def start(self):
        for writer in self.all:
            writer.start()

    def stop(self):
        for writer in self.all:
            writer.must_stop.set()
        for writer in self.all:
            writer.join()
        return sorted((op for writer in self.all for op in writer.ops), key=lambda op: op.sent)

    def settle(self):
        """Reads everything back; what cannot be: [(operation, text)]."""
        for writer in self.all:
            writer.must_stop.clear()
            writer.settle()
        return [wrong for writer in self.all for wrong in writer.wrong]
