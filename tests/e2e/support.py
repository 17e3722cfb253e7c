"""What the end-to-end tests share: an HTTP client that shows bytes as they are, and `faas up` as an object."""
import http.client
import itertools
import json
import os
import pathlib
import re
import secrets
import socket
import subprocess
import time
import urllib.parse

TSAN_SUPPRESSIONS = pathlib.Path(__file__).resolve().parents[1] / "support/tsan.supp"
LSAN_SUPPRESSIONS = pathlib.Path(__file__).resolve().parents[1] / "support/lsan.supp"
_counter = itertools.count()


def unique(prefix="u"):
    return f"{prefix}{secrets.token_hex(4)}{next(_counter)}"


def free_port():
    """A free port below the ephemeral range, so that no outgoing connection takes it meanwhile."""
    for port in itertools.count(18000 + secrets.randbelow(8000)):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def wait_until(claim, seconds, what):
    """Poll claim() until it is true; the condition decides, the time only bounds."""
    end = time.monotonic() + seconds
    while True:
        value = claim()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


class Answer:
    def __init__(self, response, body):
        self.status, self.headers, self.body = response.status, response.headers, body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def json(self):
        return json.loads(self.body)

    def problem(self, status, code):
        """This answer is the problem document of that status and code; returns it."""
        assert self.status == status, (self.status, self.text)
        assert self.headers["Content-Type"] == "application/problem+json", self.headers["Content-Type"]
        doc = self.json
        assert doc["code"] == code and doc["status"] == status, doc
        assert doc["title"] and doc["detail"] and doc["type"] and doc["component"], doc
        return doc


class Client:
    """One user; token travels with every request.  A fresh connection per request unless kept."""

    def __init__(self, url, token=None, username=None, user_id=None):
        self.url = urllib.parse.urlsplit(url)
        self.token, self.username, self.id = token, username, user_id

    @classmethod
    def new(cls, url):
        name, password = unique(), secrets.token_hex(12)
        anonymous = cls(url)
        made = anonymous.post("/auth/register", {"username": name, "password": password})
        assert made.status == 201, (made.status, made.text)
        login = anonymous.post("/auth/login", {"username": name, "password": password})
        assert login.status == 200, (login.status, login.text)
        return cls(url, login.json["token"], name, made.json["id"])

    def request(self, method, path, body=None, headers=None, timeout=60):
        conn = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=timeout)
        try:
            all_headers = dict(headers or {})
            if self.token and "Authorization" not in all_headers:
                all_headers["Authorization"] = f"Bearer {self.token}"
            if isinstance(body, (dict, list)):
                body = json.dumps(body).encode()
            elif isinstance(body, str):
                body = body.encode()
            conn.request(method, path, body, all_headers)
            response = conn.getresponse()
            return Answer(response, response.read())
        finally:
            conn.close()

    def get(self, path, body=None, **more):
        return self.request("GET", path, body, **more)

    def post(self, path, body=None, **more):
        return self.request("POST", path, body, **more)

    def put(self, path, body=None, **more):
        return self.request("PUT", path, body, **more)

    def delete(self, path, body=None, **more):
        return self.request("DELETE", path, body, **more)

    def register(self, image, name=None, **fields):
        name = name or unique("f")
        made = self.post("/registry/register", {"name": name, "description": "", "payload": image, **fields})
        assert made.status == 201, (made.status, made.text)
        return name

    def call(self, name, argument, **more):
        return self.post("/publisher/publish", {"name": name, "argument": argument}, **more)


def stat_of(pid):
    """Name, parent and start of a process, or None: the number alone may be somebody else's by now."""
    try:
        name, rest = pathlib.Path(f"/proc/{pid}/stat").read_text().split("(", 1)[1].rsplit(")", 1)
    except OSError:
        return None
    return name, int(rest.split()[1]), int(rest.split()[19])


def runtime_settings(data):
    """What a platform's functions run in, unless a test says otherwise."""
    return {"SPAWNER_RUNTIME": os.environ.get("FAAS_RUNTIME", "docker"), "SPAWNER_RUN_DIR": f"{data}-run"}  # beside it: tests copy data


HELPERS = ("faas-zygote", "faas-outbound")  # children of a spawner that are no functions


class Platform:
    """`faas up` in a data folder of its own."""

    def __init__(self, bin_dir, data, port, replicas, docker_host, env=None):
        env = {**runtime_settings(data), **(env or {})}
        self.is_native = env["SPAWNER_RUNTIME"] == "native"
        self.faas = str(pathlib.Path(bin_dir) / "faas")
        self.data, self.listen, self.replicas = data, f"127.0.0.1:{port}", replicas
        self.url = f"http://{self.listen}"
        self.env = {**os.environ, "DOCKER_HOST": docker_host, "XDG_CONFIG_HOME": os.path.join(data, "config"),
                    "ASAN_OPTIONS": f"log_path={data}/sanitizer:detect_leaks=1", "LSAN_OPTIONS": f"suppressions={LSAN_SUPPRESSIONS}:print_suppressions=0",
                    "UBSAN_OPTIONS": f"log_path={data}/sanitizer:print_stacktrace=1",
                    "TSAN_OPTIONS": f"log_path={data}/sanitizer:suppressions={TSAN_SUPPRESSIONS}", **env}
        self.docker_host = docker_host

    def up(self, *more):
        """more: further options; what it printed."""
        args = [self.faas, "up", "--data", self.data, "--listen", self.listen, "--detach", *more]
        for name, count in self.replicas.items():
            args += ["--replicas", f"{name}={count}"]
        done = subprocess.run(args, env=self.env, text=True, capture_output=True, timeout=120)
        assert done.returncode == 0 and f"ready {self.url}" in done.stdout, (done.returncode, done.stdout, done.stderr, self.logs())
        return done.stdout

    def down(self):
        mine = self.offspring() if self.is_native else []
        done = subprocess.run([self.faas, "down", "--data", self.data], env=self.env, text=True, capture_output=True, timeout=120)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        if self.is_native:
            return [process for process in mine if (stat_of(process[0]) or (None, None, None))[2] == process[1]]
        return self.containers()

    def run(self, *args, **more):
        return subprocess.run([self.faas, *args], env={**self.env, "FAAS_URL": self.url}, text=True, capture_output=True, timeout=60, **more)

    def status(self):
        done = self.run("status", "--data", self.data, "--json")
        assert done.returncode == 0, (done.stdout, done.stderr)
        return json.loads(done.stdout)

    def pids(self, service):
        return [p["pid"] for p in self.status()["processes"] if p["service"] == service]

    def offspring(self):
        """(number, start) of all children of the spawners: nurseries, zygotes, what makes networks, sandboxes."""
        spawners, found = self.pids("spawner"), []
        for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
            stat = stat_of(pid)
            if stat and stat[1] in spawners:
                found.append((pid, stat[2]))
        return found

    def sandboxes(self):
        """Those in which a function runs: its first process is the spawner's child, and a program of the image."""
        return [pid for pid, start in self.offspring() if (stat_of(pid) or HELPERS)[0] not in HELPERS]

    def containers(self, *more):
        """Ids of this platform's containers, dead ones included; more: further arguments of docker ps."""
        if self.is_native:
            return self.sandboxes()
        cluster = json.loads(pathlib.Path(self.data, "cluster.json").read_text())["id"]
        done = subprocess.run(["docker", "ps", "-q", "--filter", f"label=faas.cluster={cluster}", *(more or ("-a",))], env=self.env, text=True,
                              capture_output=True, check=True)
        return done.stdout.split()

    def spawner_of(self, container):
        """The process whose call runs in it."""
        if self.is_native:
            return stat_of(container)[1]
        done = subprocess.run(["docker", "inspect", "-f", '{{index .Config.Labels "faas.spawner"}}', container], env=self.env, text=True,
                              capture_output=True, check=True)
        return next(p["pid"] for p in self.status()["processes"] if p["name"].replace("-", "") == done.stdout.strip())

    def running(self):
        return self.containers("--filter", "status=running")

    def logs(self):
        return {p.name: p.read_text(errors="replace")[-3000:] for p in pathlib.Path(self.data, "log").glob("*.log")}

    def healthy(self):
        try:
            return Client(self.url).get("/healthz", timeout=5).status == 200
        except OSError:
            return False

    def wait_healthy(self, seconds=30):
        wait_until(self.healthy, seconds, "the platform is healthy")

    def check_logs(self):
        """No sanitizer report; every line of our services is one JSON object; no token, API key or password in any."""
        reports = [p.read_text(errors="replace")[:6000] for p in pathlib.Path(self.data).glob("sanitizer*")]
        assert not reports, "\n".join(reports)
        for path in pathlib.Path(self.data, "log").glob("*.log"):
            if path.name.startswith("nats"):
                continue
            for line in path.read_text(errors="replace").splitlines():
                assert isinstance(json.loads(line), dict), (path.name, line)
                assert not re.search(r"eyJ[A-Za-z0-9_-]{10,}\.|argon2id|faas_[0-9a-f]{16}_[0-9a-f]", line), (path.name, line)


def raw(url, data, timeout=10, half_close=False):
    """Send bytes as they are, read to the end of the connection."""
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=timeout) as s:
        s.sendall(data)
        if half_close:
            s.shutdown(socket.SHUT_WR)
        got = b""
        while True:
            try:
                piece = s.recv(65536)
            except socket.timeout:
                return got
            if not piece:
                return got
            got += piece
