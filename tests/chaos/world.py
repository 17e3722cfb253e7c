"""A small world for a platform: network, disks and processes that nobody else sees, and that end with it.

To be run as root in namespaces of its own (scripts/chaos makes them): network, mounts and processes.  In it
  m0          of the platform's side of a cable; at the other end, in one more network, is the counter (counter.py)
  nats/N      the store of each NATS server is a file system of its own, so that one disk can be full
  group 5300+N  each NATS server has a group of its own, by which the firewall knows its connections
  clock       the offset of the day's clock, for all programs but the NATS servers (clock.c)
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
from support import Client, Platform, wait_until  # noqa: E402

COUNTER = "10.53.0.2"
GROUP = 5300
STORE_MB = 64
REPLICAS = {"nats": 3, "auth": 2, "registry": 2, "publisher": 2, "spawner": 2, "gateway": 2}
SERVICES = ("auth", "registry", "publisher", "spawner", "gateway")
PORT = 8080
LEFT_S = 10  # the kernel ends a network namespace, and its devices, some time after its last process


def run(*args, **more):
    done = subprocess.run([str(a) for a in args], text=True, capture_output=True, **more)
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


class World:
    def __init__(self, bin_dir, folder, replicas=None, env=None):
        self.bin, self.folder = pathlib.Path(bin_dir), pathlib.Path(folder)
        self.replicas = {**REPLICAS, **(replicas or {})}
        self.data, self.counts, self.clock = self.folder / "data", self.folder / "counts", self.folder / "clock"
        self.platform = Platform(bin_dir, str(self.data), PORT, self.replicas, "unix:///nowhere/docker.sock", {
            "SPAWNER_RUNTIME": "native", "SPAWNER_DNS": COUNTER, "RATE_USER": "0", "SIGNUP_PER_ADDRESS": "0", "SPAWNER_SLOTS": "32",
            "NATS_SERVER": str(self.folder / "nats-server"), "LD_PRELOAD": str(self.bin / "chaos-clock.so"), "CHAOS_CLOCK": str(self.clock),
            **(env or {})})
        self.gateways = [f"http://127.0.0.1:{PORT + i}" for i in range(self.replicas["gateway"])]
        self.counter, self.counter_address = None, COUNTER

    def port(self, gateway):
        return PORT + gateway

    # ---- making it ----

    def __enter__(self):
        self.before = {"mounts": self.mounts(), "devices": set(os.listdir("/sys/class/net"))}
        self.step_clock(0)
        self.make_network()
        self.make_firewall()
        self.make_disks()
        self.make_nats_program()
        self.platform.up()
        return self

    def make_network(self):
        self.counts.touch()
        self.counter = subprocess.Popen(["unshare", "--net", sys.executable, HERE / "counter.py", self.counts])
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{self.counter.pid}/ns/net") != own, 10, "the counter has a network")
        there = ("nsenter", f"--net=/proc/{self.counter.pid}/ns/net")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "m0", "type", "veth", "peer", "name", "o0", "netns", str(self.counter.pid))
        run("ip", "addr", "add", "10.53.0.1/24", "dev", "m0")
        run("ip", "link", "set", "m0", "up")
        run(*there, "ip", "addr", "add", f"{COUNTER}/24", "dev", "o0")
        run(*there, "ip", "link", "set", "o0", "up")
        pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def make_firewall(self):
        """Connections that a NATS server opened, which are to others of them, are marked with its group."""
        marks = "".join(f"meta skgid {g} ct direction original ct mark set {g};" for g in map(self.group_of, self.numbers()))
        run("nft", f"table inet chaos {{ chain opened {{ type filter hook output priority -10; {marks} }}; "
            "chain heard { type filter hook input priority 0; }; }")

    def make_disks(self):
        for number in self.numbers():
            self.store(number).mkdir(parents=True)
            run("mount", "-t", "tmpfs", "-o", f"size={STORE_MB}m", "chaos", self.store(number))

    def make_nats_program(self):
        real = os.environ.get("NATS_SERVER") or HERE.parents[1] / "build/deps/bin/nats-server"
        path = self.folder / "nats-server"
        path.write_text(f"""#!/bin/sh
[ "$1" = -c ] || exec {real} "$@"
number=${{2##*/}}
exec setpriv --regid $(({GROUP} + ${{number%.conf}})) --clear-groups --pdeathsig KILL -- {real} "$@"
""")
        path.chmod(0o755)

    def register(self, user):
        """The three functions of the load: kind -> name."""
        program = self.folder / "image"
        program.mkdir()
        shutil.copy(self.bin / "chaos-function", program)
        run(self.platform.faas, "image", "pack", program, "--data", self.data, "--tag", "chaos:1", "--entrypoint", "/chaos-function")
        patient = {"max_wait_ms": 30000}  # a full spawner makes calls wait, not fail
        user.register("chaos:1", "plain", retry={"idempotent": True}, **patient)
        user.register("chaos:1", "slow", retry={"idempotent": True}, **patient)
        user.register("chaos:1", "count", network="outbound", **patient)

    def new_user(self):
        return Client.new(self.gateways[0])

    # ---- changing it ----

    def cut(self, numbers, from_clients=False):
        """These NATS servers and the others hear nothing of each other; nor do their clients and they."""
        ports = json.loads((self.data / "ports.json").read_text())["ports"]
        rules = []
        for n in numbers:
            cut_ports = [ports[f"nats-route-{n}"]] + ([ports[f"nats-{n}"]] if from_clients else [])
            rules += [f"ct mark {self.group_of(n)} drop", *(f"tcp {side} {port} drop" for port in cut_ports for side in ("dport", "sport"))]
        run("nft", "; ".join(f"add rule inet chaos heard {rule}" for rule in rules))

    def heal(self):
        run("nft", "flush", "chain", "inet", "chaos", "heard")

    def fill_disk(self, number):
        """Nothing more can be written to the store of this NATS server."""
        with open(self.store(number) / "filler", "wb") as filler:
            piece = 1 << 22
            while piece:
                try:
                    os.posix_fallocate(filler.fileno(), filler.seek(0, os.SEEK_END), piece)
                except OSError:
                    piece //= 2

    def empty_disk(self, number):
        (self.store(number) / "filler").unlink()

    def step_clock(self, seconds):
        """The day's clock of all processes but the NATS servers (they ask the kernel themselves) is so far from the machine's."""
        with open(self.clock, "r+b" if self.clock.exists() else "w+b") as page:
            page.write(int(seconds * 1e9).to_bytes(8, sys.byteorder, signed=True))

    # ---- looking at it ----

    def numbers(self):
        return range(1, self.replicas["nats"] + 1)

    @staticmethod
    def group_of(number):
        return GROUP + number

    def store(self, number):
        return self.data / "nats" / str(number)

    def state(self):
        return json.loads((self.data / "state.json").read_text())

    def processes(self, service=None):
        """What runs now: [{name, service, pid, ...}]."""
        return [p for p in self.state()["processes"] if service in (None, p["service"])]

    def pid(self, name):
        return next(p["pid"] for p in self.processes() if p["name"] == name)

    def monitor(self, number, path):
        """A page of a NATS server's monitor, or None."""
        try:
            port = next(p["monitor_port"] for p in self.processes("nats") if p["number"] == number)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=2) as page:
                return json.load(page)
        except (OSError, ValueError):
            return None

    def nats_trouble(self):
        """What keeps the NATS servers from being well, each stream with a leader that has all its replicas beside it; or None."""
        unwell = {n: page for n in self.numbers() if (page := self.monitor(n, "healthz") or {}).get("status") != "ok"}
        if unwell:
            return f"unwell: {unwell}"
        views = {n: [(stream["name"], stream.get("cluster", {})) for stream in self.details(n)] for n in self.numbers()}
        leaders = {(name, group.get("leader")) for view in views.values() for name, group in view}
        led = {name for n, view in views.items() for name, group in view if group.get("leader", "").endswith(f"-n{n}")
               and all(replica["current"] for replica in group["replicas"])}
        if len(led) > 0 and len(leaders) == len(led) == len({name for name, _ in leaders}):
            return None
        return f"streams without a leader of all: led {led} of {views}"

    def trouble(self):
        """What keeps the platform from being whole: every process runs, every NATS server is current, every gateway finds all it needs; or None."""
        processes = self.processes()
        missing = [p["name"] for p in processes if not p["pid"]]
        if len(processes) != sum(self.replicas.values()) or missing:
            return f"not running: {missing}"
        if (trouble := self.nats_trouble()) is not None:
            return trouble
        try:
            answers = [Client(url).get("/healthz", timeout=2) for url in self.gateways]
        except OSError as error:
            return f"a gateway: {error}"
        return next((answer.text for answer in answers if answer.status != 200), None)

    def is_whole(self):
        return self.trouble() is None

    def details(self, number):
        """What this NATS server says of each stream."""
        page = self.monitor(number, "jsz?accounts=1&streams=1") or {}
        return [stream for account in page.get("account_details", []) for stream in account.get("stream_detail", [])]

    def streams(self, number):
        """stream -> (messages, first, last, bytes) as this NATS server has it."""
        return {s["name"]: tuple(s["state"][k] for k in ("messages", "first_seq", "last_seq", "bytes")) for s in self.details(number)}

    def stream_differences(self):
        """Streams that are not the same everywhere: {name: [state, ...]}."""
        copies = [self.streams(n) for n in self.numbers()]
        names = set().union(*copies)
        return {name: [c.get(name) for c in copies] for name in names if len({c.get(name) for c in copies}) > 1} if names else {"": ["no streams"]}

    def runs(self):
        """key -> how often a function that counts ran with it."""
        found = {}
        for line in self.counts.read_text().splitlines():
            found[line] = found.get(line, 0) + 1
        return found

    # ---- ending it ----

    @staticmethod
    def mounts():
        return {line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()}

    def group_folders(self):
        tag = f"faas-native-{fnv(str(self.data) + '-run'):08x}-"
        return [str(p) for p in pathlib.Path("/sys/fs/cgroup").glob("*/faas-native-*") if p.name.startswith(tag)]

    def close(self):
        """Takes the platform down; what is left of it, by kind."""
        done = subprocess.run([self.platform.faas, "down", "--data", self.data], env=self.platform.env, text=True, capture_output=True, timeout=180)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        try:
            wait_until(lambda: not self.left(), LEFT_S, "")
        except AssertionError:
            pass  # what it is, is the answer
        return self.left()

    def left(self):
        left = {
            "processes": self.strangers(),
            "mounts": sorted(m for m in self.mounts() - self.before["mounts"] if not m.startswith(f"{self.data}/nats/")),
            "groups": self.group_folders(),
            "devices": sorted(set(os.listdir("/sys/class/net")) - self.before["devices"] - {"m0"}),
        }
        return {kind: found for kind, found in left.items() if found}

    def strangers(self):
        """Processes of this world that are neither ours nor the counter."""
        mine, found = {1, os.getpid(), self.counter.pid}, []
        for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
            try:
                stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                continue
            if pid not in mine and stat.rsplit(")", 1)[1].split()[0] != "Z":
                found.append(stat.split(")")[0] + ")")
        return found

    def __exit__(self, *_):
        if self.counter:
            self.counter.terminate()
            self.counter.wait()
        run("nft", "flush", "ruleset")
        for number in self.numbers():
            subprocess.run(["umount", str(self.store(number))], capture_output=True)


def fnv(text):
    """As services/spawner/native/share.c names control groups by the run directory."""
    value = 2166136261
    for byte in text.encode():
        value = (value ^ byte) * 16777619 & 0xffffffff
    return value

