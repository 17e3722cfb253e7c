"""Administrators: made once, seen by nobody's token but theirs; quotas and disabling at every gateway at once."""
import contextlib
import json
import os
import pathlib
import re
import secrets
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

import conftest
import forging
from support import Client, Platform, free_port, unique, wait_until
from test_sessions import account, login

MINUTE = 60


@pytest.fixture(scope="module")
def pair(engine, tmp_path_factory):
    """A platform with two gateways and two auths, the URLs of the gateways, and its administrator."""
    data = tmp_path_factory.mktemp("admin")
    plat = Platform(conftest.BIN, str(data), free_port(), {"gateway": 2, "auth": 2}, engine)
    plat.up()
    port = int(plat.listen.split(":")[1])
    urls = [f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"]
    file = data / "keys/admin.password"
    assert file.stat().st_mode & 0o777 == 0o600
    plat.admin_password = file.read_text().strip()
    yield plat, urls, Client(urls[0], login(urls[0], "admin", plat.admin_password), "admin")
    assert plat.admin_password not in plat.logs()
    plat.down()
    plat.check_logs()


def person(url):
    name, password = account(url)
    who = Client(url, login(url, name, password), name)
    who.password = password
    return who


def change(admin, who, status=200, **fields):
    done = admin.request("PATCH", f"/v1/admin/users/{who.username}", fields)
    assert done.status == status, done.text
    return done.json


def everything(who):
    """All that an administrator's routes answer to somebody."""
    name = who.username
    yield who.get("/v1/admin/users")
    yield who.get(f"/v1/admin/users/{name}")
    yield who.request("PATCH", f"/v1/admin/users/{name}", {"role": "admin"})
    yield who.request("PATCH", "/v1/admin/users/admin", {"disabled": True})
    for what in ("functions", "calls", "calls/0190a000-0000-7000-8000-000000000001", "calls/0190a000-0000-7000-8000-000000000001/logs"):
        yield who.get(f"/v1/admin/users/admin/{what}")


def test_nobody_but_an_administrator_gets_in(pair):
    plat, urls, admin = pair
    me = person(urls[0])
    key = me.post("/auth/keys", {"name": "ci", "verbs": ["*"]})
    assert key.status == 201, key.text
    admins = admin.post("/auth/keys", {"name": "ci", "verbs": ["*"]}).json["key"]
    signing = forging.Key.read(f"{plat.data}/keys/token-1.pem")
    header, claims = (json.loads(forging.unb64(part)) for part in me.token.split(".")[:2])
    rich = forging.signed(signing, header, {**claims, "role": "admin", "admin": True, "gen": 10**6})
    poor = forging.signed(forging.Key(), header, {**claims, "role": "admin"})
    stranger = Client(urls[0], None, me.username)
    for url in urls:
        for token in (me.token, key.json["key"], admins, rich):
            for answer in everything(Client(url, token, me.username)):
                answer.problem(403, "denied")
        for answer in everything(Client(url, poor, me.username)):
            answer.problem(401, "unauthenticated")
        for answer in everything(Client(url, None, stranger.username)):
            answer.problem(401, "unauthenticated")
    for field in ({"role": "admin"}, {"disabled": False}, {"quotas": {"functions": 5}}):
        Client(urls[0]).post("/auth/register", {"username": unique(), "password": "a long enough one", **field}).problem(400, "invalid_request")
    assert admin.get(f"/v1/admin/users/{me.username}").json["role"] == "user"


def test_users_are_listed_page_by_page(pair):
    _, urls, admin = pair
    made = [account(urls[0])[0] for _ in range(5)]
    names, cursor = [], None
    while True:
        page = admin.get("/v1/admin/users?limit=2" + (f"&cursor={cursor}" if cursor else ""))
        assert page.status == 200 and 1 <= len(page.json["items"]) <= 2, page.text
        names += [item["username"] for item in page.json["items"]]
        cursor = page.json["next_cursor"]
        if cursor is None:
            break
    assert names[0] == "admin" and names[-5:] == made and len(set(names)) == len(names)
    shown = admin.get(f"/v1/admin/users/{made[0]}").json
    assert set(shown) == {"id", "username", "role", "disabled", "created_at", "quotas"}, shown
    assert shown["role"] == "user" and shown["disabled"] is False and shown["quotas"] == {}
    admin.get("/v1/admin/users/nobody-has-it").problem(404, "not_found")
    admin.get("/v1/admin/users?limit=0").problem(400, "invalid_request")
    admin.get("/v1/admin/users?cursor=x").problem(400, "invalid_request")


def test_a_disabled_user_is_refused_everywhere_and_keeps_everything(pair):
    _, urls, admin = pair
    me = person(urls[0])
    name = me.register("faas-examples/echo:latest")
    slow = me.register("faas-tests/sh:latest", timeout_ms=60000)
    key = me.post("/auth/keys", {"name": "ci"}).json["key"]
    for url in urls:
        for token in (me.token, key):
            assert Client(url, token).call(name, "x").text == "x"
    outcome = []
    running = threading.Thread(target=lambda: outcome.append(me.call(slow, "sleep 3; echo done")))
    running.start()
    wait_until(lambda: any(c["function"] == slow and c["status"] == "running" for c in me.get("/v1/calls").json["items"]), 20, "the call runs")
    assert change(admin, me, disabled=True)["disabled"] is True
    for url in urls:
        for token in (me.token, key):
            answer = Client(url, token).call(name, "x").problem(403, "denied")
            assert "disabled" in answer["detail"], answer
            Client(url, token).get("/auth/validate").problem(403, "denied")
        Client(url).post("/auth/login", {"username": me.username, "password": me.password}).problem(403, "denied")
        Client(url).post("/auth/login", {"username": me.username, "password": "wrong" + me.password}).problem(401, "unauthenticated")
    running.join()  # what ran when it came goes on
    assert outcome[0].status == 200 and outcome[0].text == "done\n", outcome[0].text
    assert [f["name"] for f in admin.get(f"/v1/admin/users/{me.username}/functions").json["items"]] == sorted([name, slow])
    change(admin, me, disabled=False)
    for url in urls:
        Client(url, me.token).get("/auth/validate").problem(401, "unauthenticated")
        assert Client(url, key).call(name, "x").text == "x"
        assert Client(url, login(url, me.username, me.password)).call(name, "y").text == "y"


def test_queued_calls_of_a_disabled_user_wait(pair):
    _, urls, admin = pair
    me = person(urls[0])
    name = me.register("faas-tests/sh:latest", concurrency=1)
    first = me.post(f"/async-function/{name}", "sleep 2").json["call_id"]
    second = me.post(f"/async-function/{name}", "echo later").json["call_id"]
    change(admin, me, disabled=True)
    path = f"/v1/admin/users/{me.username}/calls"
    wait_until(lambda: admin.get(f"{path}/{first}").json["status"] == "succeeded", 30, "the call that ran ended")
    assert admin.get(f"{path}/{second}").json["status"] == "queued"
    change(admin, me, disabled=False)
    me.token = login(urls[0], me.username, me.password)
    done = me.get(f"/v1/calls/{second}?wait=30")
    assert done.json["status"] == "succeeded", done.text
    assert me.get(f"/v1/calls/{second}/result").text == "later\n"


def test_an_administrator_reads_the_calls_of_others(pair):
    _, urls, admin = pair
    me, other = person(urls[0]), person(urls[1])
    name = me.register("faas-tests/sh:latest")
    call = me.call(name, "echo out; echo err >&2").headers["X-Call-Id"]
    path = f"/v1/admin/users/{me.username}/calls"
    seen = lambda: [(c["id"], c["status"]) for c in admin.get(f"{path}?function={name}").json["items"]]
    wait_until(lambda: seen() == [(call, "succeeded")], 10, "the record of the end: a cold call is shown while it runs")
    assert admin.get(f"{path}/{call}").json["function"] == name
    assert admin.get(f"{path}/{call}/logs").text == "err\n"
    admin.get(f"/v1/admin/users/{other.username}/calls/{call}").problem(404, "not_found")
    admin.get(f"/v1/calls/{call}").problem(404, "not_found")
    admin.get("/v1/admin/users/nobody-has-it/calls").problem(404, "not_found")


def test_a_role_that_was_taken_away_is_gone_at_once(pair):
    _, urls, admin = pair
    me = person(urls[0])
    old = me.token
    change(admin, me, role="admin")
    Client(urls[1], old).get("/v1/admin/users").problem(401, "unauthenticated")
    deputies = [Client(url, login(url, me.username, me.password), me.username) for url in urls]
    for deputy in deputies:
        assert deputy.get("/v1/admin/users").status == 200
        change(deputy, deputy, 409, disabled=True)
        change(deputy, deputy, 409, role="user")
    change(admin, me, role="user")
    for deputy in deputies:
        deputy.get("/v1/admin/users").problem(401, "unauthenticated")
    for url in urls:
        Client(url, login(url, me.username, me.password)).get("/v1/admin/users").problem(403, "denied")
    for wrong in ({"role": "king"}, {"disabled": 1}, {"quotas": {"x": 1}}, {"quotas": {"functions": -1}}, {"quotas": {"functions": "1"}}, {"id": me.id}):
        change(admin, me, 400, **wrong)


def test_quotas_hold_at_both_gateways(pair):
    _, urls, admin = pair
    me = person(urls[0])
    name = me.register("faas-tests/sh:latest")
    before = me.get("/v1/quota").json
    assert before["functions"]["used"] == 1 and before["functions"]["limit"] > 1, before
    assert before["calls_per_minute"]["limit"] is None, before
    change(admin, me, quotas={"functions": 1, "concurrency": 3})
    shown = [Client(url, me.token).get("/v1/quota").json for url in urls]
    assert shown[0] == shown[1] and shown[0]["functions"] == {"limit": 1, "used": 1} and shown[0]["concurrency"] == {"limit": 3, "used": 0}, shown
    answer = me.post("/registry/register", {"name": unique(), "description": "", "payload": "faas-tests/sh:latest"})
    assert "quota functions" in answer.problem(429, "busy")["detail"] and int(answer.headers["Retry-After"]) > 0
    answers = []
    threads = [threading.Thread(target=lambda i=i: answers.append(Client(urls[i % 2], me.token).call(name, "sleep 2; echo ok"))) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fine = [a for a in answers if a.status == 200]
    busy = [a for a in answers if a.status == 429]
    assert len(fine) == 3 and len(busy) == 9, sorted(a.status for a in answers)
    assert all("concurrency" in a.problem(429, "busy")["detail"] and "Retry-After" in a.headers for a in busy)
    assert change(admin, me, quotas={"functions": None, "queued_bytes": 10})["quotas"] == {"concurrency": 3, "queued_bytes": 10}
    me.register("faas-tests/sh:latest")
    me.post(f"/async-function/{name}", "x" * 11).problem(429, "busy")
    assert me.post(f"/async-function/{name}", "true").status == 202


def test_calls_a_minute_hold_at_both_gateways_together(pair):
    _, urls, admin = pair
    me, other = person(urls[0]), person(urls[1])
    name = me.register("faas-examples/echo:latest")
    others = other.register("faas-examples/echo:latest")
    change(admin, me, quotas={"calls_per_minute": 6})
    started = time.monotonic()
    statuses = [Client(urls[i % 2], me.token).call(name, "x") for i in range(20)]
    fine = sum(a.status == 200 for a in statuses)
    # Six come at once; one more every ten seconds that this took.
    assert 6 <= fine <= 6 + (time.monotonic() - started) / (MINUTE / 6) + 1, [a.status for a in statuses]
    refused = [a for a in statuses if a.status != 200]
    assert all("calls_per_minute" in a.problem(429, "busy")["detail"] and 0 < int(a.headers["Retry-After"]) <= 20 for a in refused)
    assert other.call(others, "x").status == 200 and me.get("/v1/calls").status == 200
    change(admin, me, quotas={"calls_per_minute": 0})
    for url in urls:
        Client(url, me.token).call(name, "x").problem(429, "busy")
    change(admin, me, quotas={"calls_per_minute": None})
    for url in urls:
        assert Client(url, me.token).call(name, "x").status == 200


def kept(plat, query, *values):
    """Rows of the registries' read models, of functions or of calls."""
    rows = []
    for file in pathlib.Path(plat.data).rglob("*.db"):
        with contextlib.suppress(sqlite3.OperationalError):  # the other kind, or of a registry before
            rows += sqlite3.connect(f"file:{file}?mode=ro", uri=True).execute(query, values).fetchall()
    return rows


def functions_of(plat, who):
    return kept(plat, "select name from functions where record like ?", f"%{who.id}%") + kept(plat, "select key from versions where record like ?", f"%{who.id}%")


def refused(who, key, urls):
    for url in urls:
        for token in (who.token, key):
            for path in ("/auth/validate", "/v1/functions"):
                Client(url, token).get(path).problem(401, "unauthenticated")
        Client(url).post("/auth/login", {"username": who.username, "password": who.password}).problem(401, "unauthenticated")


def settled(who):
    who.id = who.get("/auth/validate").json["id"]
    return who


@pytest.mark.parametrize("by", ["the owner", "an administrator"])
def test_a_deleted_account_is_gone_with_all_it_has(pair, by):
    plat, urls, admin = pair
    me, other = settled(person(urls[0])), settled(person(urls[1]))
    name = me.register("faas-tests/sh:latest")
    other.register("faas-tests/sh:latest", name=name)
    me.register("faas-tests/sh:latest", name=name + "-2")
    assert me.request("PATCH", f"/v1/functions/{name}", {"description": "a second version"}).status == 200
    for who in (me, other):
        assert who.post("/v1/secrets", {"name": "word", "value": "x"}).status == 201
        assert who.put("/v1/registries/registry.example:5000", {"username": "u", "password": "p"}).status == 201
    key = me.post("/auth/keys", {"name": "ci", "verbs": ["*"]}).json["key"]
    called = me.call(name, "echo mine").headers["X-Call-Id"]
    change(admin, me, quotas={"concurrency": 0})
    waiting = me.post(f"/async-function/{name}", "echo never").json["call_id"]
    asks = {"current_password": me.password}
    me.delete("/v1/account", {"current_password": "wrong" + me.password}).problem(403, "denied")
    me.delete("/v1/account").problem(400, "invalid_request")
    assert "body" in me.delete(f"/v1/account?current_password={me.password}").problem(400, "invalid_request")["detail"]
    Client(urls[0], key).delete("/v1/account", asks).problem(403, "denied")
    other.delete("/v1/account", asks).problem(403, "denied")
    other.delete(f"/v1/admin/users/{me.username}").problem(403, "denied")
    assert len(functions_of(plat, me)) >= 4

    gone = me.delete("/v1/account", asks) if by == "the owner" else admin.delete(f"/v1/admin/users/{me.username}")
    assert gone.status == 204 and gone.text == "", gone.text
    refused(me, key, urls)
    admin.get(f"/v1/admin/users/{me.username}").problem(404, "not_found")
    admin.delete(f"/v1/admin/users/{me.username}").problem(404, "not_found")
    assert me.username not in [u["username"] for u in admin.get("/v1/admin/users?limit=200").json["items"]]
    assert functions_of(plat, me) == [] and functions_of(plat, other) != []
    end = lambda: kept(plat, "select status from calls where json_extract(record, '$.id') = ?", waiting)
    wait_until(lambda: end() == [("cancelled",)], 30, "the call that waited ends")

    assert Client(urls[1]).post("/auth/register", {"username": me.username, "password": me.password}).status == 201
    heir = settled(Client(urls[1], login(urls[1], me.username, me.password), me.username))
    assert heir.id != me.id
    for path in ("/v1/functions", "/v1/calls", "/v1/secrets", "/v1/registries", "/v1/dead-letters", "/auth/keys"):
        assert heir.get(path).json["items"] == [], path
    for path in (f"/v1/calls/{called}", f"/v1/calls/{called}/logs", f"/v1/calls/{waiting}", f"/v1/calls/{waiting}/result", f"/v1/functions/{name}"):
        heir.get(path).problem(404, "not_found")
    Client(urls[0], me.token).get("/auth/validate").problem(401, "unauthenticated")
    assert other.call(name, "echo stays").text == "stays\n"
    for path in ("/v1/secrets", "/v1/registries"):
        assert len(other.get(path).json["items"]) == 1, path


def test_an_administrator_is_left(pair):
    plat, urls, admin = pair
    deputy = person(urls[0])
    change(admin, deputy, role="admin")
    deputy.token = login(urls[0], deputy.username, deputy.password)
    for who, password in ((admin, plat.admin_password), (deputy, deputy.password)):
        who.delete("/v1/account", {"current_password": password}).problem(409, "conflict")
        who.delete(f"/v1/admin/users/{who.username}").problem(409, "conflict")
    assert "AUTH_ADMIN" in deputy.delete("/v1/admin/users/admin").problem(409, "conflict")["detail"]
    assert admin.delete(f"/v1/admin/users/{deputy.username}").status == 204
    deputy.get("/v1/admin/users").problem(401, "unauthenticated")


def test_what_broke_a_deletion_off_does_not_keep_anything(pair):
    plat, urls, admin = pair
    me = settled(person(urls[0]))
    me.register("faas-tests/sh:latest")
    asleep = plat.pids("registry")
    for pid in asleep:
        os.kill(pid, signal.SIGSTOP)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(admin.delete(f"/v1/admin/users/{me.username}")))
    try:
        asking.start()
        wait_until(lambda: Client(urls[1]).post("/auth/login", {"username": me.username, "password": me.password}).status == 401, 20, "the account is gone")
        for pid in plat.pids("auth"):
            os.kill(pid, signal.SIGKILL)
    finally:
        for pid in asleep:
            os.kill(pid, signal.SIGCONT)
    asking.join()
    assert answers[0].status in (204, 503, 504), answers[0].text  # 204: another auth finished it
    wait_until(lambda: functions_of(plat, me) == [], 60, "its functions are gone")
    plat.wait_healthy()
    refused(me, None, urls)


def test_the_first_administrator_is_made_once(pair):
    plat, urls, admin = pair
    new = secrets.token_hex(12)
    done = admin.put("/auth/password", {"current_password": plat.admin_password, "new_password": new})
    assert done.status == 204, done.text
    plat.down()
    plat.up()
    plat.wait_healthy()
    Client(urls[0]).post("/auth/login", {"username": "admin", "password": plat.admin_password}).problem(401, "unauthenticated")
    admin.token = login(urls[0], "admin", new)
    assert [u["username"] for u in admin.get("/v1/admin/users?limit=200").json["items"]].count("admin") == 1
    assert admin.put("/auth/password", {"current_password": new, "new_password": plat.admin_password}).status == 204
    admin.token = login(urls[0], "admin", plat.admin_password)


def test_the_command_line(pair):
    plat, urls, admin = pair
    me = person(urls[0])
    (page,) = re.findall(r"```sh\n(.*?)```", (conftest.ROOT / "docs/ADMIN.md").read_text(), re.S)
    env = {**plat.env, "PATH": f"{conftest.BIN}:{os.environ['PATH']}", "FAAS_URL": plat.url, "DATA": plat.data}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", re.sub(r"\bann\b", me.username, page)], env=env, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0 and me.username in done.stdout and "concurrency" in done.stdout, (done.stdout, done.stderr)

    def faas(*args, code=0):
        done = plat.run(*args)
        assert done.returncode == code, (args, done.stdout, done.stderr)
        return done.stdout

    faas("admin", "user", me.username, code=4)  # the page's last words
    me = person(urls[0])
    assert json.loads(faas("admin", "quota", me.username, "--functions", "7", "--calls-per-minute", "9", "--json"))["quotas"] == {"functions": 7, "calls_per_minute": 9}
    faas("admin", "quota", me.username, code=2)
    assert json.loads(faas("admin", "disable", me.username, "--json"))["disabled"] is True
    assert "enabled" not in faas("admin", "user", me.username)
    assert json.loads(faas("admin", "enable", me.username, "--json"))["disabled"] is False
    assert json.loads(faas("admin", "records", me.username, "--json")) == []
    faas("admin", "user", "nobody-has-it", code=4)
