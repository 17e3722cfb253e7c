"""Versions side by side: this build, and one that sends and stores more than this one knows (tests/support/future.c), as during an upgrade of one
program after the other.  Old reads new and new reads old, for messages and for what is stored."""
import concurrent.futures
import json
import os
import pathlib
import shutil

import pytest

import conftest
from support import Client, Platform, free_port, unique, wait_until

FUTURE = pathlib.Path(os.environ.get("FAAS_FUTURE_BIN", conftest.ROOT / "build/future/bin")).resolve()
SERVICES = ("auth", "registry", "publisher", "spawner", "gateway")


@pytest.fixture(scope="module", autouse=True)
def built():
    assert (FUTURE / "faas-gateway").exists(), "make programs VARIANT=future"


def mixed_folder(path, other=FUTURE):
    """Programs that are this build's where INSTANCE_ID ends in an odd digit, the other one's otherwise."""
    path.mkdir()
    shutil.copy(conftest.BIN / "faas", path)
    (path / "nats-server").symlink_to(os.environ.get("NATS_SERVER", conftest.ROOT / "build/deps/bin/nats-server"))
    for service in SERVICES:
        program = path / f"faas-{service}"
        program.write_text(f'#!/bin/sh\ncase $INSTANCE_ID in *[13579]) exec {conftest.BIN}/faas-{service} "$@";; esac\nexec {other}/faas-{service} "$@"\n')
        program.chmod(0o755)
    return path


def gateways(plat):
    port = int(plat.listen.split(":")[1])
    return [f"http://127.0.0.1:{port + i}" for i in range(plat.replicas.get("gateway", 1))]


def has_more(answer):
    return b'"future"' in answer.body


class Seen:
    """Which builds answered, by what they did."""

    def __init__(self):
        self.plain, self.more, self.served = set(), set(), set()

    def note(self, what, answer):
        (self.more if has_more(answer) else self.plain).add(what)
        if "X-Served-By" in answer.headers:
            self.served.add(answer.headers["X-Served-By"])
        return answer


def ok(answer, status=200):
    assert answer.status == status, (answer.status, answer.text)
    return answer


def live(urls, seen):
    """One user's whole story, each step at the next door."""
    doors = [Client(url) for url in urls]
    name, password = unique(), unique("password")
    made = seen.note("register", ok(doors[0].post("/auth/register", {"username": name, "password": password}), 201))
    doors[1].post("/auth/register", {"username": name, "password": password}).problem(409, "conflict")
    login = seen.note("login", ok(doors[1].post("/auth/login", {"username": name, "password": password})))
    users = [Client(url, login.json["token"]) for url in urls]
    for user in users:
        assert ok(user.get("/auth/validate")).json["id"] == made.json["id"]
    work(users, seen)
    kept = use_keys(users, urls)
    new = unique("password")
    ok(users[0].put("/auth/password", {"current_password": password, "new_password": new}), 204)
    for user in users:
        assert user.get("/auth/validate").problem(401, "unauthenticated")["reason"] == "revoked"
        assert ok(Client(user.url.geturl(), kept).get("/auth/validate")).json["id"] == made.json["id"]
    login = ok(doors[0].post("/auth/login", {"username": name, "password": new}))
    ok(Client(urls[1], login.json["token"]).post("/auth/logout"), 204)
    for url in urls:
        assert Client(url, login.json["token"]).get("/auth/validate").problem(401, "unauthenticated")["reason"] == "revoked"


def use_keys(users, urls):
    """API keys made at one door, used and ended at others; one that stays."""
    kept = ok(users[0].post("/auth/keys", {"name": "kept", "verbs": ["read"]}), 201).json
    for i in range(4):
        made = ok(users[i % 2].post("/auth/keys", {"name": "short", "functions": ["x*"]}), 201).json
        for url in urls:
            assert ok(Client(url, made["key"]).get("/auth/validate")).json["key"]["functions"] == ["x*"]
        assert [k["id"] for k in ok(users[i % 2].get("/auth/keys")).json["items"]] == [kept["id"], made["id"]]
        ok(users[(i + 1) % 2].delete(f"/auth/keys/{made['id']}"), 204)
        for url in urls:
            Client(url, made["key"]).get("/auth/validate").problem(401, "unauthenticated")
    return kept["key"]


def work(users, seen):
    functions = {users[i % 2].register("faas-examples/upper:latest", labels={"n": str(i)}, env={"A": "b"}): i for i in range(2)}
    broken = users[1].register("faas-tests/fail:latest")
    users[0].post("/registry/register", {"name": broken, "payload": "faas-tests/fail:latest"}).problem(409, "conflict")
    for name, i in functions.items():
        for user in users:
            record = seen.note("retrieve", ok(user.get(f"/registry/retrieve?name={name}"))).json
            assert record["labels"] == {"n": str(i)} and record["env"] == {"A": "b"} and record["version"] == 1, record
            done = seen.note("call", ok(user.call(name, f"{name} ärgument")))
            assert done.body == f"{name} ärgument".upper().encode(), done.text
        assert ok(users[1].put("/registry/update", {"name": name, "description": "later"})).json["version"] == 2
        assert ok(users[0].put("/registry/update", {"name": name, "timeout_ms": 20000})).json["version"] == 3
        assert ok(users[1].get(f"/v1/functions/{name}/versions/2")).json["description"] == "later"
        assert ok(users[0].call(name, "again")).body == b"AGAIN"
        pick(users, name)
    for user in users:
        names = {r["name"]: r for r in ok(user.get("/registry/list")).json}
        assert set(names) == {*functions, broken} and all(names[n]["timeout_ms"] == 20000 for n in functions)
        seen.note("page", ok(user.get("/v1/functions?limit=2")))
        user.get("/registry/retrieve?name=nothing").problem(404, "not_found")
        user.call("nothing", "x").problem(404, "not_found")
        doc = user.call(broken, "x").problem(502, "function_failed")
        assert doc["exit_code"] != 0, doc
    ok(users[0].delete(f"/registry/delete?name={broken}"), 204)
    users[1].call(broken, "x").problem(404, "not_found")


def pick(users, name):
    """Versions, aliases, disabling and the way back, each asked for at one door and felt at both; the newest version is as before in the end."""
    ok(users[0].put(f"/v1/functions/{name}/aliases/live", {"versions": {"1": 1, "2": 1}}))
    for user in users:
        assert [ok(user.call(name + which, "picked")).body for which in ("@1", ":live", ":latest")] == [b"PICKED"] * 3
        user.call(f"{name}@9", "x").problem(404, "not_found")
    ok(users[1].request("PATCH", f"/v1/functions/{name}", {"disabled": True}))
    for user in users:
        user.call(f"{name}:live", "x").problem(409, "conflict")
    assert ok(users[0].request("PATCH", f"/v1/functions/{name}", {"disabled": False})).json["version"] == 3
    for user, version in zip(users, (1, 3)):
        back = ok(user.post(f"/v1/functions/{name}/rollback", {"version": version})).json
        assert back["aliases"] == {"live": {"1": 1, "2": 1}} and back["disabled"] is False, back
    assert back["version"] == 5 and back["timeout_ms"] == 20000, back


def both_answer(url, seen):
    """The control: auth and registry of both versions answer, in turn."""
    name, password = unique(), unique("password")
    ok(Client(url).post("/auth/register", {"username": name, "password": password}), 201)
    user = Client(url, ok(Client(url).post("/auth/login", {"username": name, "password": password})).json["token"])
    steps = {"page of none": lambda: user.get("/v1/functions"),
             "login again": lambda: Client(url).post("/auth/login", {"username": name, "password": password})}
    for step, ask in steps.items():
        wait_until(lambda s=step, a=ask: seen.note(s, ok(a())) and s in seen.plain and s in seen.more, 60, f"{step} from both")


def test_programs_of_two_versions_work_side_by_side(engine, tmp_path):
    plat = Platform(mixed_folder(tmp_path / "bin"), str(tmp_path / "data"), free_port(), dict.fromkeys(SERVICES, 2), engine, {"RATE_BAD_KEYS": "0"})
    plat.up()
    seen = Seen()
    try:
        urls = gateways(plat)
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(live, urls if i % 2 else urls[::-1], seen) for i in range(6)]:
                done.result()
        assert plat.run("keys", "rotate", "--data", plat.data).returncode == 0
        live(urls, seen)
        restarts = [(p["name"], p["restarts"]) for p in plat.status()["processes"] if p["restarts"]]
        assert restarts == [], restarts
        assert seen.served == {"spawner1", "spawner2"}, seen.served
        both_answer(urls[0], seen)
    finally:
        left = plat.down()
    plat.check_logs()
    assert left == [] and complaints(plat) == [], complaints(plat)


def complaints(plat):
    """What this build's programs say of messages they do not understand."""
    return [line for path in pathlib.Path(plat.data, "log").glob("*.log") if not path.name.startswith("nats") for line in path.read_text().splitlines()
            if any(words in line for words in ("not understood", "cannot be read", "cannot be used", "malformed", "not JSON"))]


def test_each_version_reads_what_the_other_stored(engine, tmp_path):
    data, port = str(tmp_path / "data"), free_port()
    name, password = unique(), unique("password")
    plats = {build: Platform(folder, data, port, {}, engine) for build, folder in (("this", conftest.BIN), ("later", FUTURE))}
    function, token = None, None
    for turn, build in enumerate(("later", "this", "later", "this")):
        plat = plats[build]
        plat.up()
        try:
            if turn == 0:
                ok(Client(plat.url).post("/auth/register", {"username": name, "password": password}), 201)
                token = ok(Client(plat.url).post("/auth/login", {"username": name, "password": password})).json["token"]
            user = Client(plat.url, token)
            if turn == 0:
                key = ok(user.post("/auth/keys", {"name": "kept", "verbs": ["*"]}), 201).json
            machine = Client(plat.url, key["key"])
            assert ok(machine.get("/auth/validate")).json["username"] == name
            short = ok(user.post("/auth/keys", {"name": "short"}), 201).json
            assert ok(Client(plat.url, short["key"]).get("/auth/validate")).json["key"]["verbs"] == ["invoke"]
            ok(user.delete(f"/auth/keys/{short['id']}"), 204)
            Client(plat.url, short["key"]).get("/auth/validate").problem(401, "unauthenticated")
            assert [k["id"] for k in ok(user.get("/auth/keys")).json["items"] if "id" in k] == [key["id"]]
            assert ok(user.get("/auth/validate")).json["username"] == name  # a token of the turns before
            assert ok(Client(plat.url).post("/auth/login", {"username": name, "password": password})).json["token"]
            if turn == 0:
                function = user.register("faas-examples/upper:latest", labels={"a": "b"})
            record = ok(user.get(f"/registry/retrieve?name={function}")).json
            assert record["version"] == turn + 1 and record["labels"] == {"a": "b"} and record["description"] == ("" if turn == 0 else f"turn {turn - 1}")
            assert ok(user.call(function, f"turn {turn}")).body == f"TURN {turn}".encode()
            ended = ok(Client(plat.url).post("/auth/login", {"username": name, "password": password})).json["token"]
            ok(Client(plat.url, ended).post("/auth/logout"), 204)
            changed = ok(user.put("/registry/update", {"name": function, "description": f"turn {turn}"})).json
            assert "future" in changed["limits"], changed  # what the later version added stays, whoever writes next
            assert [r["name"] for r in ok(user.get("/registry/list")).json] == [function]
            own = user.register("faas-examples/echo:latest")
            assert ok(user.call(own, "x")).body == b"x"
            ok(user.delete(f"/registry/delete?name={own}"), 204)
        finally:
            plat.down()
        plat.check_logs()
    assert complaints(plats["this"]) == []
    assert json.loads(pathlib.Path(data, "cluster.json").read_text())["v"] == 1
