"""`faas status` of a platform elsewhere, and `faas doctor` with real faults, on a platform of its own: what is wrong is named, with what to do next."""
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess

import pytest

import conftest
from support import Client, Platform, free_port, unique, wait_until
from test_image import is_root

REPLICAS = {"nats": 3, "auth": 1, "registry": 1, "publisher": 1, "spawner": 2}


DISK_MB = 1600
SLOTS = 2  # of each spawner


class Clock:
    """What a process with these settings takes for the time; not where sanitizers want to be loaded first."""

    def __init__(self, path):
        self.path = path
        self.settings = {} if conftest.is_address_sanitized() else {"LD_PRELOAD": str(conftest.BIN / "chaos-clock.so"), "CHAOS_CLOCK": str(path)}
        self.step(0)

    def step(self, seconds):
        self.path.write_bytes(struct.pack("=q", seconds * 10 ** 9))


def programs(folder, clock):
    """Those of this build; spawner2 has that clock, and both have the runtime that a file names when they start."""
    folder.mkdir()
    for program in conftest.BIN.iterdir():
        (folder / program.name).symlink_to(program)
    (folder / "nats-server").symlink_to(os.environ.get("NATS_SERVER", conftest.ROOT / "build/deps/bin/nats-server"))
    spawner = folder / "faas-spawner"
    spawner.unlink()
    (folder / "faas").unlink()
    shutil.copy(conftest.BIN / "faas", folder)  # which looks for the others where it is
    settings = " ".join(f"{name}={value}" for name, value in clock.settings.items())
    spawner.write_text(f"""#!/bin/sh
[ "$INSTANCE_ID" != spawner2 ] || [ -z "{settings}" ] || export {settings}
[ ! -e {folder}/runtime ] || export SPAWNER_RUNTIME="$(cat {folder}/runtime)"
exec {conftest.BIN}/faas-spawner "$@"
""")
    spawner.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def plat(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("doctor")
    if is_root:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "doctor", folder], check=True)
    try:
        clock = Clock(folder / "clock")
        made = Platform(programs(folder / "bin", clock), str(folder / "faas"), free_port(), REPLICAS, engine, {"SPAWNER_SLOTS": str(SLOTS)})
        made.clock, made.folder = clock, folder
        made.up()
        yield made
        assert made.down() == []
        made.check_logs()
    finally:
        if is_root:
            subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def user(plat):
    return Client.new(plat.url)


def faas(plat, user, *args, **env):
    if user is not None:
        env = {"FAAS_TOKEN": user.token, **env}
    return subprocess.run([plat.faas, *args], env={**plat.env, "FAAS_URL": plat.url, "XDG_DATA_HOME": os.path.dirname(plat.data), **env}, text=True, capture_output=True, timeout=60)


def doctor(plat, user, *args, **env):
    """Exit status and (check, state) -> (what, next) of all it found."""
    done = faas(plat, user, "doctor", "--json", *args, **env)
    assert done.returncode in (0, 1), (done.returncode, done.stdout, done.stderr)
    doc = json.loads(done.stdout)
    assert doc["fine"] == (done.returncode == 0) == all(f["state"] != "wrong" for f in doc["findings"])
    assert all(("next" in f) == (f["state"] != "fine") for f in doc["findings"]), doc
    return done.returncode, [(f["check"], f["state"], f["what"], f.get("next", "")) for f in doc["findings"]]


def wrong(found):
    return [(check, what) for check, state, what, _ in found if state == "wrong"]


def instances(plat, user):
    done = faas(plat, user, "status", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["items"]


def test_status_has_a_line_for_each_instance(plat, user):
    items = instances(plat, user)
    assert [(i["service"], i["id"]) for i in items] == [("gateway", "gateway1"), ("auth", "auth1"), ("registry", "registry1"), ("publisher", "publisher1"),
                                                        ("spawner", "spawner1"), ("spawner", "spawner2")]
    version = faas(plat, user, "version").stdout.split()[1]
    assert all(i["state"] == "ready" and i["version"] == version and i["up_s"] >= 0 and abs(i["clock_ms"]) < 2000 for i in items), items
    assert all(i["slots"] == i["free"] > 0 and i["isolation"] in ("sandbox", "docker") for i in items if i["service"] == "spawner")
    lines = faas(plat, user, "status").stdout.splitlines()
    assert len(lines) == 1 + len(items) and lines[0].split()[:3] == ["SERVICE", "INSTANCE", "STATE"]
    assert all(len(line) <= 80 for line in lines), lines
    refused = faas(plat, None, "status")
    assert refused.returncode == 4 or "not logged in" in refused.stderr, refused


def test_a_sound_platform_is_fine(plat, user):
    name = user.register("faas-examples/upper:latest")
    assert user.call(name, "abc").text == "ABC"
    status, found = doctor(plat, user, name, "--data", plat.data)
    assert status == 0 and {"gateway", "login", "auth", "registry", "publisher", "spawner", "room", "function", "process", "nats", "disk"} <= {f[0] for f in found}
    text = faas(plat, user, "doctor", name)
    assert text.returncode == 0 and text.stdout.splitlines()[-1] == "nothing is wrong", text
    assert faas(plat, user, "doctor", "--data", "/nowhere/at/all").returncode == 4
    assert faas(plat, user, "doctor", name, "other").returncode == 2


def test_functions_that_cannot_be_called(plat, user):
    name = user.register("faas-examples/upper:latest")
    assert user.request("PATCH", f"/v1/functions/{name}", {"disabled": True}).status == 200
    status, found = doctor(plat, user, name)
    assert (status, wrong(found)) == (1, [("function", f"{name} is disabled: calls are refused, queued ones wait")])
    assert [f[3] for f in found if f[1] == "wrong"] == ["`faas enable NAME`"]
    for reference, what in [(unique("x"), "you have no function"), ("é" * 900, "you have no function"), ("\udcff", "name"), ("a b", "name"), (f"{name}@7", f"{name} has no version 7"), (f"{name}:live", f"{name} has no alias live")]:
        status, found = doctor(plat, user, reference)
        assert status == 1 and what in wrong(found)[-1][1], found


def test_a_function_that_failed_the_last_time(plat, user):
    name = user.register("faas-tests/fail:latest")
    user.call(name, "3").problem(502, "function_failed")
    wait_until(lambda: any(f[0] == "last call" and "function_failed" in f[2] for f in doctor(plat, user, name)[1]), 20, "its record is there")
    assert doctor(plat, user, name)[0] == 0  # the platform is not what is wrong


def test_a_login_that_does_not_count(plat, user):
    for env, what in [({"FAAS_TOKEN": "eyJ.bad.token"}, "login"), ({"FAAS_TOKEN": user.token[:-6] + "AAAAAA"}, "login")]:
        status, found = doctor(plat, None, **env)
        assert status == 1 and [w[0] for w in wrong(found)] == [what] and "faas login" in found[1][3] and "eyJ" not in str(found), found
    status, found = doctor(plat, None)
    assert status == 1 and "nobody is logged in" in wrong(found)[0][1]


def test_a_gateway_that_is_not_there(plat, user):
    status, found = doctor(plat, user, FAAS_URL=f"http://127.0.0.1:{free_port()}")
    assert (status, [w[0] for w in wrong(found)]) == (1, ["gateway"]) and "cannot be reached" in wrong(found)[0][1]


def test_stopped_spawners(plat, user):
    """One that stands still is named, and is no reason that nothing runs; without any nothing can run."""
    name = user.register("faas-examples/upper:latest")
    pids = plat.pids("spawner")
    for stopped in (pids[:1], pids):
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            states = lambda: [i["state"] for i in instances(plat, user) if i["service"] == "spawner"]
            wait_until(lambda: sum(s != "ready" for s in states()) == len(stopped), 20, "they are missed")
            wait_until(lambda: len(wrong(doctor(plat, user, name)[1])) == (0 if len(stopped) == 1 else 2), 20, "the gateway says so, too")
            status, found = doctor(plat, user, name)
            spawner = [f for f in found if f[0] == "spawner"]
            if len(stopped) == 1:
                assert status == 0 and spawner[0][1] == "warning" and "1 ready; spawner" in spawner[0][2], found
            else:
                assert status == 1 and [w[0] for w in wrong(found)] == ["gateway", "spawner"] and "missing: spawner" in wrong(found)[0][1], found
                assert "no instance is ready: spawner1 is" in spawner[0][2] and "docker compose ps" in spawner[0][3] or "log" in spawner[0][3]
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        wait_until(lambda: doctor(plat, user)[0] == 0 and set(states()) == {"ready"}, 30, "all is well again")


def test_two_of_three_nats_servers(plat, user):
    pids = plat.pids("nats")[:2]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: "nats" in [w[0] for w in wrong(doctor(plat, user, "--data", plat.data)[1])], 20, "no quorum")
    finally:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass  # `faas up` has exchanged it
    plat.wait_healthy(60)
    wait_until(lambda: doctor(plat, user, "--data", plat.data)[0] == 0, 60, "all is well again")


def test_spawners_without_what_functions_run_in(tmp_path):
    nowhere = Platform(conftest.BIN, str(tmp_path), free_port(), {}, "unix:///nowhere/docker.sock", {"SPAWNER_RUNTIME": "docker"})
    nowhere.up()
    try:
        someone = Client.new(nowhere.url)
        wait_until(lambda: "trouble" in str(instances(nowhere, someone)), 20, "the spawner has looked for its engine")
        status, found = doctor(nowhere, someone, "--data", nowhere.data)
        assert (status, [w[0] for w in wrong(found)]) == (1, ["runtime", "engine"]), found
        assert "no Docker Engine answers at unix:///nowhere/docker.sock" in wrong(found)[0][1] and "SPAWNER_RUNTIME=native" in [f[3] for f in found if f[0] == "runtime"][0]
        assert "no Docker Engine answers at" in faas(nowhere, someone, "status").stdout
    finally:
        subprocess.run([nowhere.faas, "down", "--data", nowhere.data], env=nowhere.env, check=True, capture_output=True, timeout=60)


@pytest.mark.skipif(conftest.is_address_sanitized(), reason="sanitizers want to be loaded first")
def test_clocks_that_differ(plat, user, tmp_path):
    def is_off(side):
        found = wrong(doctor(plat, user)[1])
        return [w[0] for w in found] == ["clock"] and re.match(rf"the clock of spawner spawner2 is [45]\.\d s {side} the gateway's", found[0][1])
    for seconds, side in ((5, "ahead of"), (-5, "behind")):
        plat.clock.step(seconds)
        wait_until(lambda: is_off(side), 20, f"the spawner's clock is {side} the gateway's")
    plat.clock.step(0)
    wait_until(lambda: doctor(plat, user)[0] == 0, 20, "the clock is right again")
    here = Clock(tmp_path / "clock")
    here.step(-100)
    status, found = doctor(plat, user, **here.settings)
    clock = [f for f in found if f[0] == "clock"]
    assert status == 0 and len(clock) == 1 and clock[0][1] == "warning" and re.match(r"this machine's clock is (99|100|101) s behind the gateway's", clock[0][2]), found


def test_no_place_left(plat, user):
    name = user.register("faas-tests/sh:latest")
    places = 2 * SLOTS
    assert [f[1:3] for f in doctor(plat, user)[1] if f[0] == "room"] == [("fine", f"{places} of {places} places are free")]
    calls = [socket.create_connection((user.url.hostname, user.url.port)) for _ in range(places)]
    for call in calls:
        body = "sleep 600"
        call.sendall(f"POST /function/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    wait_until(lambda: [f for f in doctor(plat, user)[1] if f[0] == "room" and f[1] == "warning"], 30, "all places are taken")
    status, found = doctor(plat, user, name)
    room = [f for f in found if f[0] == "room"][0]
    assert status == 0 and room[2].startswith(f"all {places} places are taken") and "--replicas spawner=N" in room[3], found
    for call in calls:
        call.close()  # whose caller leaves is cancelled
    wait_until(lambda: [f for f in doctor(plat, user)[1] if f[0] == "room" and f[1] == "fine"], 30, "they are free again")


@pytest.mark.skipif(not is_root, reason="mounts")
def test_a_disk_that_is_full(plat, user):
    def disk():
        return [f[1:] for f in doctor(plat, user, "--data", plat.data)[1] if f[0] == "disk"][0]

    def leave(mb):
        fill.unlink(missing_ok=True)
        room = os.statvfs(plat.data)
        with open(fill, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - mb * 2 ** 20)
    fill = plat.folder / "fill"
    assert disk()[0] == "fine" and disk()[1].endswith(f"MB free at {plat.data}")
    try:
        leave(72)
        state, what, then = disk()
        assert state == "warning" and re.match(r"(6[5-9]|7\d) MB \(4 %\) free at ", what) and "make room" in then, (state, what)
        leave(40)
        state, what, then = disk()
        assert state == "wrong" and re.match(r"\d\d MB \(2 %\) free at ", what) and "make room" in then, (state, what)
    finally:
        fill.unlink()
    assert disk()[0] == "fine"


def test_a_function_of_another_isolation(plat, user):
    def restart(isolation):
        for pid in plat.pids("spawner"):
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: [(i["state"], i.get("isolation")) for i in instances(plat, user) if i["service"] == "spawner"] == [("ready", isolation)] * 2, 60, f"they offer {isolation}")
    name = user.register("faas-examples/upper:latest")
    its = user.get(f"/v1/functions/{name}").json["isolation"]
    other, runtime = ("docker", "docker") if its == "sandbox" else ("sandbox", "native")
    (plat.folder / "bin/runtime").write_text(runtime)
    try:
        restart(other)
        found = wrong(doctor(plat, user, name)[1])
        assert ("function", f"it was registered for isolation {its}, which no spawner offers") in found, found
        assert not [w for w in wrong(doctor(plat, user)[1]) if w[0] == "function"]
    finally:
        (plat.folder / "bin/runtime").unlink()
        restart(its)
    wait_until(lambda: doctor(plat, user, name)[0] == 0, 30, "all is well again")


def test_a_secret_that_a_version_names_and_is_gone(plat, user):
    secret = unique("word")
    assert user.put(f"/v1/secrets/{secret}", {"value": "x"}).status == 201
    name = user.register("faas-examples/upper:latest", secrets=[secret])
    assert user.put(f"/v1/functions/{name}/aliases/live", {"version": 1}).status == 200
    assert [doctor(plat, user, reference)[0] for reference in (name, f"{name}@1", f"{name}:live")] == [0, 0, 0]
    assert user.request("PATCH", f"/v1/functions/{name}", {"secrets": []}).status == 200
    assert user.delete(f"/v1/secrets/{secret}").status == 204
    assert doctor(plat, user, name)[0] == 0
    for reference in (f"{name}@1", f"{name}:live"):
        status, found = doctor(plat, user, reference)
        assert (status, wrong(found)) == (1, [("function", f"it names the secret {secret}, which is not there")]), found
        assert [f[3] for f in found if f[1] == "wrong"] == ["`faas secret set NAME`"]


def test_scale_of_what_is_not_in_containers(plat, user):
    done = faas(plat, user, "scale", "spawner=4", "--name", unique("none"))
    assert done.returncode == 4 and "faas down, then faas up --replicas spawner=4" in done.stderr, done
    assert faas(plat, user, "scale", "spawner=four").returncode == 2
