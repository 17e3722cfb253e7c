"""`faas status` of a platform elsewhere, and `faas doctor` with real faults, on a platform of its own: what is wrong is named, with what to do next."""
import json
import os
import signal
import subprocess

import pytest

import conftest
from support import Client, Platform, free_port, unique, wait_until

REPLICAS = {"nats": 3, "auth": 1, "registry": 1, "publisher": 1, "spawner": 2}


@pytest.fixture(scope="module")
def plat(engine, tmp_path_factory):
    made = Platform(conftest.BIN, str(tmp_path_factory.mktemp("doctor") / "faas"), free_port(), REPLICAS, engine)
    made.up()
    yield made
    assert made.down() == []
    made.check_logs()


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


def test_scale_of_what_is_not_in_containers(plat, user):
    done = faas(plat, user, "scale", "spawner=4", "--name", unique("none"))
    assert done.returncode == 4 and "faas down, then faas up --replicas spawner=4" in done.stderr, done
    assert faas(plat, user, "scale", "spawner=four").returncode == 2
