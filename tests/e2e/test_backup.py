"""`faas backup` and `faas restore`: the same platform from one file, and nothing from a file that is not whole."""
import hashlib
import json
import os
import pathlib
import pty
import shutil
import signal
import subprocess
import threading

import pytest

import conftest
from backup_files import build, contents, parse
from support import Client, Platform, free_port, unique, wait_until
from test_image import is_root
from test_native_images import NOWHERE, Native

pytestmark = pytest.mark.skipif(not is_root, reason="sandboxes need root")
IMAGE = "test/sh:1"
OK, USAGE, NOT_FOUND, UNAVAILABLE = 0, 2, 4, 5


def pack(plat, folder):
    (folder / "image/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", folder / "image/bin/busybox")
    packed = plat.run("image", "pack", str(folder / "image"), "--tag", IMAGE, "--data", plat.data,
                      *(word for part in ("/bin/busybox", "echo") for word in ("--entrypoint", part)))
    assert packed.returncode == 0, packed.stderr


class Origin:
    """A platform with something of everything in it, and what its clients know."""

    def __init__(self, plat, folder):
        self.plat, self.folder, self.password = plat, folder, "the password of ada"
        pack(plat, folder)
        door = Client(plat.url)
        self.name = unique("ada")
        assert door.post("/auth/register", {"username": self.name, "password": self.password}).status == 201
        self.user, self.gone = (Client(plat.url, self.login(plat.url).json["token"], self.name) for _ in range(2))
        for name in ("kept", "changed", "removed"):
            self.user.register(IMAGE, name)
        for turn in range(3):
            assert self.user.put("/registry/update", {"name": "changed", "description": f"turn {turn}"}).status == 200
        assert self.user.delete("/registry/delete", {"name": "removed"}).status in (200, 204)
        assert self.gone.post("/auth/logout").status in (200, 204)
        self.other = Client.new(plat.url)
        self.other.register(IMAGE, "theirs")

    def login(self, url, password=None):
        return Client(url).post("/auth/login", {"username": self.name, "password": password or self.password})

    def backup(self, path, *more):
        return self.plat.run("backup", str(path), "--data", self.plat.data, *more)

    def seen(self, client):
        """All that a user can see of functions."""
        names = [f["name"] for f in client.get("/registry/list").json]
        return {name: (client.get(f"/v1/functions/{name}").json, client.get(f"/v1/functions/{name}/versions").json) for name in names}


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("origin")
    with Native(folder, options=["--tls"]) as native:
        yield Origin(native.plat, folder)


@pytest.fixture(scope="module")
def made(origin):
    """A backup of it, and its records."""
    path = origin.folder / "made.bak"
    done = origin.backup(path, "--json")
    assert done.returncode == OK, done.stderr
    said = json.loads(done.stdout)
    assert said["bytes"] == path.stat().st_size and said["images"] == 1, said
    return path, parse(path.read_bytes())


def platform(folder, nats):
    """Not restored yet."""
    return Platform(conftest.BIN, str(folder / "data"), free_port(), {"nats": nats}, NOWHERE,
                    {"SPAWNER_RUNTIME": "native", "SPAWNER_RUN_DIR": str(folder / "run"), "XDG_CONFIG_HOME": str(folder / "config"),
                     "ASAN_OPTIONS": f"log_path={folder}/sanitizer", "UBSAN_OPTIONS": f"log_path={folder}/sanitizer:print_stacktrace=1"})


def check_sanitizers(plat):
    reports = [p.read_text(errors="replace")[:4000] for p in pathlib.Path(plat.data).parent.glob("sanitizer*")]
    assert not reports, "\n".join(reports)


def restore(plat, path, *more):
    done = plat.run("restore", str(path), "--data", plat.data, "--replicas", f"nats={plat.replicas['nats']}", *more)
    check_sanitizers(plat)
    return done


class Running:
    """A restored platform while it runs."""

    def __init__(self, plat):
        self.plat = plat

    def __enter__(self):
        self.plat.up()
        return self.plat

    def __exit__(self, *_):
        assert self.plat.down() == []
        self.plat.check_logs()
        check_sanitizers(self.plat)


# ---- the same again ----

@pytest.mark.parametrize("nats", [1, 3])
def test_a_restored_platform_is_the_same(origin, made, tmp_path, nats):
    before = origin.seen(origin.user), origin.seen(origin.other)
    assert len(before[0]["changed"][1]["items"]) == 4 and len(before[0]) == 2, before
    plat = platform(tmp_path, nats)
    done = restore(plat, made[0], "--json")
    assert done.returncode == OK, (done.stdout, done.stderr)
    assert json.loads(done.stdout)["nats_servers"] == nats
    modes = {"keys/token-1.pem": 0o600, "keys/tls-key.pem": 0o600, "keys/tls.pem": 0o644, "runtime.json": 0o600, ".": 0o700}
    for name, mode in modes.items():
        ours, theirs = pathlib.Path(plat.data, name), pathlib.Path(origin.plat.data, name)
        assert ours.stat().st_mode & 0o7777 == mode and (name == "." or ours.read_bytes() == theirs.read_bytes()), name
    with Running(plat):
        user, gone, other = (Client(plat.url, client.token) for client in (origin.user, origin.gone, origin.other))
        assert (origin.seen(user), origin.seen(other)) == before  # with tokens from before
        assert user.call("kept", "as before").body == b"as before\n" and other.call("theirs", "too").body == b"too\n"
        assert gone.get("/auth/validate").problem(401, "unauthenticated")["reason"] == "revoked"
        assert origin.login(plat.url).status == 200
        origin.login(plat.url, "another password").problem(401, "unauthenticated")
        Client(plat.url).post("/auth/register", {"username": origin.name, "password": "a new password"}).problem(409, "conflict")
        user.post("/registry/register", {"name": "kept", "payload": IMAGE}).problem(409, "conflict")
        again = tmp_path / "again.bak"
        assert plat.run("backup", str(again), "--data", plat.data).returncode == OK
        for bucket in ("functions", "users"):
            assert contents(parse(again.read_bytes()))[bucket] == contents(made[1])[bucket]
        updated = user.put("/registry/update", {"name": "changed", "description": "here"})
        assert updated.status == 200 and updated.json["version"] == 5, updated.text
        assert user.register(IMAGE, "removed") and user.call("removed", "new").body == b"new\n"


def test_every_write_acknowledged_before_is_in_it(origin, tmp_path):
    writer = Client.new(origin.plat.url)
    writer.register(IMAGE, "counter")
    over, acknowledged, failures = threading.Event(), [], []

    def write():
        for turn in range(1, 100000):
            if over.is_set():
                return
            done = [writer.post("/registry/register", {"name": f"w{turn}", "payload": IMAGE}),
                    writer.put("/registry/update", {"name": "counter", "description": str(turn)}),
                    writer.delete("/registry/delete", {"name": f"w{turn - 2}"}) if turn > 2 and turn % 4 == 0 else None]
            if any(d is not None and d.status >= 300 for d in done):
                failures.append([d.text for d in done if d is not None])
                return
            acknowledged.append(turn)
    thread = threading.Thread(target=write)
    thread.start()
    path = tmp_path / "busy.bak"
    try:
        def overlapped():
            before = acknowledged[-1] if acknowledged else 0
            assert origin.backup(path).returncode == OK and not failures
            records = parse(path.read_bytes())
            check(records, before)
            return any(kind == "U" for kind, _, _ in records) and before > 4
        wait_until(overlapped, 60, "a backup in which something was written meanwhile")
    finally:
        over.set()
        thread.join()
    assert not failures
    plat = platform(tmp_path, 1)
    done = restore(plat, path)
    assert done.returncode == OK, done.stderr
    kept = contents(parse(path.read_bytes()))["functions"]
    with Running(plat):
        user = Client(plat.url, writer.token)
        listed = {f["name"] for f in user.get("/registry/list").json}
        expected = {json.loads(value)["name"] for key, value in kept.items() if key.startswith("f.") and json.loads(value)["uuid"] == writer.id}
        assert listed == expected
        assert user.call("counter", "x").body == b"x\n"


def check(records, before):
    """All that was acknowledged up to that turn, and not undone, is there."""
    functions = contents(records)["functions"]
    heads = {json.loads(value)["name"]: json.loads(value) for key, value in functions.items() if key.startswith("f.")}
    for turn in range(1, before + 1):
        if (turn + 2) % 4 != 0:
            assert f"w{turn}" in heads, (turn, before)
        elif turn + 2 <= before:
            assert f"w{turn}" not in heads, (turn, before)
    assert before == 0 or int(heads["counter"]["description"]) >= before


def test_the_stream_on_standard_output_is_the_same_file(origin, made):
    done = subprocess.run([origin.plat.faas, "backup", "-", "--data", origin.plat.data], env=origin.plat.env, capture_output=True, timeout=60)
    assert done.returncode == OK, done.stderr
    assert contents(parse(done.stdout)).keys() == contents(made[1]).keys()
    assert b"private keys" in done.stderr and b"PRIVATE KEY" not in done.stderr
    ours, theirs = pty.openpty()
    done = subprocess.run([origin.plat.faas, "backup", "-", "--data", origin.plat.data], env=origin.plat.env, stdout=theirs, stderr=subprocess.PIPE, timeout=60)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == USAGE and b"not written to a terminal" in done.stderr


def leader_of(plat, stream):
    """The process of the server that leads a stream."""
    port = json.loads(pathlib.Path(plat.data, "ports.json").read_text())["ports"]["nats-monitor-1"]
    page = Client(f"http://127.0.0.1:{port}").get("/jsz?accounts=1&streams=1").json
    streams = [s for account in page["account_details"] for s in account["stream_detail"]]
    name = next(s["cluster"]["leader"] for s in streams if s["name"] == stream)
    return next(p["pid"] for p in plat.status()["processes"] if p["name"] == f"nats-{name[-1]}")


def test_a_server_that_dies_meanwhile_costs_nothing(made, tmp_path):
    plat, path, again = platform(tmp_path, 3), tmp_path / "many.bak", tmp_path / "again.bak"
    path.write_bytes(many(made[1], 8000))
    assert restore(plat, path).returncode == OK
    with Running(plat):
        leader = leader_of(plat, "KV_functions")
        child = subprocess.Popen([plat.faas, "backup", again, "--data", plat.data], env=plat.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wait_until(lambda: any(p.stat().st_size > 500000 for p in tmp_path.glob("again.bak.*")), 20, "the backup is half-way")
        os.kill(leader, signal.SIGKILL)
        said = child.communicate(timeout=60)[0].decode()
        assert child.returncode == OK, said
        wait_until(plat.healthy, 60, "the platform is well again")
    assert contents(parse(again.read_bytes()))["functions"] == contents(parse(path.read_bytes()))["functions"]
    assert list(tmp_path.glob("again.bak.*")) == []


# ---- what is refused ----

def test_only_whole_files_are_restored(made, tmp_path):
    path, records = made
    whole, plat = path.read_bytes(), platform(tmp_path, 1)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    damaged = tmp_path / "damaged.bak"
    for data, why in ((whole[:-1], "cut off"), (whole[:len(whole) // 2], "cut off"), (bytes(flipped), "damaged"), (b"", "no backup"),
                      (whole.replace(b"backup 1", b"backup 2", 1), "version"), (whole + b"x", "follows its end"),
                      (build([(k, n.replace("keys/", "../../keys/"), v) for k, n, v in records]), "does not belong")):
        damaged.write_bytes(data)
        done = restore(plat, damaged)
        assert done.returncode == USAGE and why in done.stderr, (why, done.stderr)
        assert not os.path.exists(plat.data)
    assert restore(plat, tmp_path / "never-made").returncode == USAGE and not os.path.exists(plat.data)


def test_what_only_a_forger_writes_does_not_pass_in_silence(made, tmp_path):
    head = [r for r in made[1] if r[0] == "H"]
    buckets = [("B", "functions", b""), ("P", "f.x", b"{}"), ("P", "f.x", b"{1}"), ("B", "users", b""), ("B", "revocations", b"")]
    layout = [("I", "", b'["a:1"]'), ("O", "oci-layout", b""), ("C", "", b"{}"), ("O", "index.json", b""), ("C", "", b"junk")]
    plain = [b for b in buckets if b[0] == "B"]
    for i, (records, why) in enumerate([(head + buckets, "twice"), (head + plain + layout, ""),
                                        (head + [("F", "keys/token-1.pem", b"junk")] + plain, "token-1.pem")]):
        (tmp_path / str(i)).mkdir()
        plat, path = platform(tmp_path / str(i), 1), tmp_path / f"{i}.bak"
        path.write_bytes(build(records))
        done = restore(plat, path)
        assert done.returncode in (USAGE, UNAVAILABLE) and "error:" in done.stderr and why in done.stderr, (done.returncode, done.stderr)
        assert "is not whole" in done.stderr
        up = plat.run("up", "--data", plat.data)
        assert up.returncode == USAGE and "restore that was not finished" in up.stderr, up.stderr


def test_a_directory_in_use_or_not_empty_is_refused(origin, made, tmp_path):
    plat = platform(tmp_path, 1)
    pathlib.Path(plat.data).mkdir()
    pathlib.Path(plat.data, "precious").write_text("mine")
    done = restore(plat, made[0])
    assert done.returncode == USAGE and "is not empty" in done.stderr and "--data" in done.stderr, done.stderr
    assert os.listdir(plat.data) == ["precious"]
    done = origin.plat.run("restore", str(made[0]), "--data", origin.plat.data)
    assert done.returncode == USAGE and "is not empty" in done.stderr
    for replicas in ("nats=2", "auth=3"):
        done = plat.run("restore", str(made[0]), "--data", str(tmp_path / "new"), "--replicas", replicas)
        assert done.returncode == USAGE and "--replicas" in done.stderr and not (tmp_path / "new").exists(), done.stderr


def test_nothing_runs_there(made, tmp_path):
    plat = platform(tmp_path, 1)
    done = plat.run("backup", str(tmp_path / "x.bak"), "--data", plat.data)
    assert done.returncode == NOT_FOUND and "nothing runs in" in done.stderr and not (tmp_path / "x.bak").exists()


# ---- what goes wrong on the way ----

def test_a_full_disk_leaves_no_file(origin, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True)
    try:
        done = origin.backup(disk / "x.bak")
        assert done.returncode == UNAVAILABLE and "No space left on device" in done.stderr, done.stderr
        assert os.listdir(disk) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_link_is_not_written_through(origin, tmp_path):
    (tmp_path / "target").write_text("mine")
    (tmp_path / "x.bak").symlink_to("target")
    done = origin.backup(tmp_path / "x.bak")
    assert done.returncode == USAGE and "not a plain file" in done.stderr
    assert (tmp_path / "target").read_text() == "mine" and sorted(os.listdir(tmp_path)) == ["target", "x.bak"]


def many(records, count):
    """That backup with more functions, of a user of their own."""
    at = next(i for i, r in enumerate(records) if r[:2] == ("B", "functions"))
    head = next(json.loads(v) for k, n, v in records if k == "P" and n.startswith("f."))
    more = []
    for i in range(count):
        tenant, name = "0" * 8, f"many{i}"
        key = f"f.{tenant}.{hashlib.sha256(name.encode()).hexdigest()[:32]}"
        more.append(("P", key, json.dumps({**head, "name": name, "op": f"{i:032x}"}).encode()))
    return build(records[:at + 1] + more + records[at + 1:])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_restore_that_is_cut_short_is_refused_by_up(made, tmp_path, number):
    plat, path = platform(tmp_path, 1), tmp_path / "many.bak"
    path.write_bytes(many(made[1], 8000))
    child = subprocess.Popen([plat.faas, "restore", path, "--data", plat.data], env=plat.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    stored = pathlib.Path(plat.data, "nats/1/jetstream")
    wait_until(lambda: any(p.stat().st_size > 200000 for p in stored.glob("**/KV_functions/msgs/*.blk")), 30, "some entries are written")
    child.send_signal(number)
    said = child.communicate(timeout=60)[0].decode()
    assert child.returncode == (-number if number == signal.SIGKILL else UNAVAILABLE), said
    for again in (plat.run("up", "--data", plat.data, "--listen", plat.listen), plat.run("restore", str(path), "--data", plat.data)):
        assert again.returncode == USAGE and "restore that was not finished" in again.stderr, again.stderr
    shutil.rmtree(plat.data)
    done = restore(plat, path)
    assert done.returncode == OK, done.stderr
    with Running(plat):
        assert plat.healthy()
