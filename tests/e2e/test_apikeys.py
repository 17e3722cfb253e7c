"""API keys: made once, good for what they say at every gateway, and ended at all of them at once."""
import base64
import json
import os
import pathlib
import re
import secrets
import signal
import socket
import subprocess
import threading

import pytest

import conftest
from support import Client, Platform, free_port, unique, wait_until
from test_sessions import login

KEY = re.compile(r"faas_([0-9a-f]{16})_([0-9a-f]{48})")
MOST = 4  # keys of a user on this platform


@pytest.fixture(scope="module")
def pair(engine, tmp_path_factory):
    """A platform with two gateways and two auths, and the URLs of the gateways."""
    data = tmp_path_factory.mktemp("apikeys")
    env = {"API_KEYS_PER_USER": str(MOST), "API_KEY_TTL_MAX": "7776000", "RATE_BAD_KEYS": "0", "CALLBACK_ALLOW": "127.0.0.2/32", "GATEWAY_BODIES_MB": "6"}
    plat = Platform(conftest.BIN, str(data), free_port(), {"gateway": 2, "auth": 2}, engine, env)
    plat.up()
    port = int(plat.listen.split(":")[1])
    yield plat, [f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"]
    plat.down()
    plat.check_logs()


def person(url):
    """A user of its own, with the password."""
    name, password = unique(), secrets.token_hex(12)
    made = Client(url).post("/auth/register", {"username": name, "password": password})
    assert made.status == 201, made.text
    who = Client(url, login(url, name, password), name, made.json["id"])
    who.password = password
    return who


def make(who, **fields):
    made = who.post("/auth/keys", {"name": "ci", **fields})
    assert made.status == 201, made.text
    assert KEY.fullmatch(made.json["key"])[1] == made.json["id"]
    return made.json


def works(url, key):
    return Client(url, key).get("/auth/validate").status == 200


def assert_refused(url, key, reason):
    answer = Client(url, key).get("/auth/validate")
    doc = answer.problem(401, "unauthenticated")
    assert doc["reason"] == reason and reason in answer.headers["WWW-Authenticate"], doc
    assert Client(url, key).post("/publisher/publish", {"name": "x", "argument": ""}).status == 401
    return {k: v for k, v in doc.items() if k != "call_id"}


def test_large_bodies_of_senders_who_are_not_known_yet_are_bounded(pair):
    _, urls = pair
    me = person(urls[0])
    name = me.register("faas-examples/echo:latest", input="stdin")
    key = make(me)["key"]
    address = urls[0].split("//")[1].split(":")

    def unknown():
        return f"faas_{secrets.token_hex(8)}_{secrets.token_hex(24)}"

    def refusal():
        return Client(urls[0], unknown()).post(f"/function/{name}", "x" * 20000).status

    held = []
    try:
        for _ in range(64):
            held.append(socket.create_connection((address[0], int(address[1]))))
            held[-1].sendall(f"POST /function/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {unknown()}\r\nContent-Length: 900000\r\n\r\nx".encode())
        wait_until(lambda: refusal() == 429, 5, "another large body is refused")
        assert Client(urls[0], key).post(f"/function/{name}", "small").status == 200  # and now it is known
        assert Client(urls[0], key).post(f"/function/{name}", "y" * 200000).status != 429
        assert Client(urls[0], me.token).post(f"/function/{name}", "y" * 200000).status != 429
    finally:
        for one in held:
            one.close()
    wait_until(lambda: refusal() == 401, 20, "there is room again")


def test_large_arguments_are_nobodys_until_their_sender_is_known_and_one_user_has_half_the_room(pair):
    _, urls = pair
    me = person(urls[0])
    name = me.register("faas-examples/echo:latest", input="stdin")
    stranger = Client(urls[0], f"faas_{secrets.token_hex(8)}_{secrets.token_hex(24)}").post(f"/function/{name}", "x" * (2 << 20))
    assert "send a small request with this key first" in stranger.problem(413, "too_large")["detail"]
    assert me.post(f"/function/{name}", "x" * (2 << 20)).status == 200
    assert "no room for more large arguments" in me.post(f"/function/{name}", "x" * (4 << 20)).problem(429, "busy")["detail"]
    key = make(me, functions=["other-*"])["key"]
    assert Client(urls[0], key).post(f"/function/{name}", "small").status == 403  # and now it is known
    assert Client(urls[0], key).post(f"/function/{name}", "x" * (2 << 20)).status == 403


def test_a_key_does_what_it_says_at_both_gateways(pair):
    _, urls = pair
    me = person(urls[0])
    me.register("faas-examples/echo:latest", name="ci-echo")
    me.register("faas-examples/echo:latest", name="other")
    key = make(me, functions=["ci-*"])["key"]
    for url in urls:
        machine = Client(url, key)
        assert machine.call("ci-echo", "hi").text == "hi"
        assert machine.post("/function/ci-echo", "ho").text == "ho"
        queued = machine.post("/async-function/ci-echo", "later")
        assert queued.status == 202, queued.text
        assert "some functions" in machine.call("other", "hi").problem(403, "denied")["detail"]
        machine.post("/function/other", "hi").problem(403, "denied")
        machine.post("/async-function/other", "hi").problem(403, "denied")
        assert "verb read" in machine.get("/v1/functions/ci-echo").problem(403, "denied")["detail"]
        assert "verb deploy" in machine.delete("/registry/delete?name=ci-echo").problem(403, "denied")["detail"]
        who = machine.get("/auth/validate").json
        assert who["id"] == me.id and who["key"]["verbs"] == ["invoke"] and who["key"]["functions"] == ["ci-*"], who
    # the tasks of one with all verbs, and of one that reads
    both, reads = Client(urls[1], make(me, verbs=["*"])["key"]), Client(urls[0], make(me, verbs=["read"], functions=["other"])["key"])
    name = both.register("faas-examples/echo:latest")
    assert both.call(name, "x").text == "x" and both.delete(f"/registry/delete?name={name}").status == 204
    assert {f["name"] for f in both.get("/registry/list").json} == {"ci-echo", "other"}
    assert reads.get("/v1/functions/other").status == 200 and reads.get("/v1/calls?function=other").status == 200
    for path in ("/v1/functions", "/registry/list", "/v1/calls", "/v1/calls?function=ci-echo", "/v1/functions/ci-echo", "/v1/dead-letters"):
        reads.get(path).problem(403, "denied")


def test_no_key_makes_keys_or_touches_the_account(pair):
    _, urls = pair
    me = person(urls[0])
    made = make(me, verbs=["*"])
    machine = Client(urls[1], made["key"])
    machine.get("/auth/keys").problem(403, "denied")
    machine.post("/auth/keys", {"name": "another"}).problem(403, "denied")
    machine.delete(f"/auth/keys/{made['id']}").problem(403, "denied")
    machine.post("/auth/logout").problem(403, "denied")
    machine.put("/auth/password", {"current_password": me.password, "new_password": "something else 1"}).problem(403, "denied")
    assert [k["id"] for k in me.get("/auth/keys").json["items"]] == [made["id"]]
    assert login(urls[0], me.username, me.password)


def test_a_removed_key_is_refused_at_once_by_both_gateways(pair):
    _, urls = pair
    me = person(urls[0])
    stays = make(me)["key"]
    for i in range(6):
        gone = make(me)
        for url in urls:  # now both remember it
            assert works(url, gone["key"]) and works(url, stays)
        assert Client(urls[i % 2], me.token).delete(f"/auth/keys/{gone['id']}").status == 204
        for url in urls:
            assert_refused(url, gone["key"], "invalid")
            assert works(url, stays)
        me.delete(f"/auth/keys/{gone['id']}").problem(404, "not_found")
    assert len(me.get("/auth/keys").json["items"]) == 1


def test_another_users_key_is_as_unknown_as_none(pair):
    _, urls = pair
    me, stranger = person(urls[0]), person(urls[0])
    mine = make(me)
    docs = []
    for key_id in (mine["id"], secrets.token_hex(8)):
        docs.append({k: v for k, v in stranger.delete(f"/auth/keys/{key_id}").problem(404, "not_found").items() if k != "call_id"})
    assert docs[0] == docs[1]
    for odd in (mine["key"], mine["id"].upper(), "x", "a" * 200, "%2e%2e", "*"):
        me.delete(f"/auth/keys/{odd}").problem(404, "not_found")
    assert works(urls[0], mine["key"]) and works(urls[1], mine["key"])
    assert stranger.get("/auth/keys").json == {"items": [], "next_cursor": None}


def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(pair):
    _, urls = pair
    me = person(urls[0])
    made = make(me)
    key_id, secret = KEY.fullmatch(made["key"]).groups()
    wrong = [f"faas_{key_id}_{secrets.token_hex(24)}", f"faas_{secrets.token_hex(8)}_{secret}", f"faas_{key_id}_", f"faas_{key_id}_{secret}0", f"faas_{key_id}",
             f"faas_{key_id}_{secret.upper()}" if secret.upper() != secret else "faas_", f"FAAS_{key_id}_{secret}", made["key"][:-1], "faas_" + "%s" * 10, "faas_" + "a" * 4000]
    answers = {json.dumps(assert_refused(url, key, "invalid"), sort_keys=True) for key in wrong for url in urls if key.startswith("faas_")}
    assert len(answers) == 1, answers
    assert_refused(urls[0], wrong[6], "invalid")
    assert works(urls[0], made["key"])
    Client(urls[0]).get(f"/auth/validate?access_token={made['key']}").problem(401, "unauthenticated")
    Client(urls[0]).get("/auth/validate", headers={"X-Api-Key": made["key"]}).problem(401, "unauthenticated")
    basic = base64.b64encode(f"anybody:{made['key']}".encode()).decode()
    assert Client(urls[1]).get("/auth/validate", headers={"Authorization": f"Basic {basic}"}).json["id"] == me.id


def test_junk_in_a_new_key_is_refused_by_name(pair):
    _, urls = pair
    me = person(urls[0])
    for fields, named in (({"name": ""}, "name"), ({"name": "x" * 65}, "name"), ({"name": "a\u0000b"}, ""), ({"name": "a\nb"}, "name"), ({"name": None}, "name"), ({"verbs": []}, "verbs"),
                          ({"verbs": ["admin"]}, "verbs"), ({"verbs": "invoke"}, "verbs"), ({"verbs": [None]}, "verbs"), ({"functions": []}, "functions"),
                          ({"functions": ["a*b"]}, "functions"), ({"functions": ["../x"]}, "functions"), ({"functions": ["f"] * 17}, "functions"),
                          ({"expires_in": 0}, "expires_in"), ({"expires_in": 7776001}, "expires_in"), ({"expires_in": 1e99}, "expires_in"), ({"expires_in": "1d"}, "expires_in"),
                          ({"key": "faas_x"}, "key"), ({"uuid": me.id}, "uuid")):
        assert named in me.post("/auth/keys", {"name": "ci", **fields}).problem(400, "invalid_request")["detail"]
    me.post("/auth/keys", b"{").problem(400, "invalid_request")
    me.get("/auth/keys?limit=x").problem(400, "invalid_request")
    assert me.get("/auth/keys").json["items"] == []
    Client(urls[0]).post("/auth/keys", {"name": "ci"}).problem(401, "unauthenticated")


def test_a_user_has_so_many_keys_and_no_more(pair):
    _, urls = pair
    me = person(urls[0])
    ids = [make(me, name=f"number {i}", expires_in=60)["id"] for i in range(MOST)]
    assert str(MOST) in me.post("/auth/keys", {"name": "one too many"}).problem(422, "unprocessable")["detail"]
    listed = me.get("/auth/keys").json["items"]
    assert [k["id"] for k in listed] == ids and "key" not in listed[0] and "hash" not in listed[0], listed
    assert me.delete(f"/auth/keys/{ids[1]}").status == 204
    make(me)


def test_a_key_ends_when_it_said(pair):
    _, urls = pair
    me = person(urls[0])
    key = make(me, expires_in=2)["key"]
    for url in urls:
        wait_until(lambda u=url: not works(u, key), 30, "the key has expired")
        assert_refused(url, key, "expired")


def test_a_new_password_leaves_keys_unless_asked(pair):
    _, urls = pair
    me = person(urls[0])
    keys = [make(me)["key"] for _ in range(2)]
    assert all(works(url, key) for url in urls for key in keys)
    first, second = secrets.token_hex(12), secrets.token_hex(12)
    me.put("/auth/password", {"current_password": me.password, "new_password": first, "keys": "drop"}).problem(400, "invalid_request")
    assert me.put("/auth/password", {"current_password": me.password, "new_password": first}).status == 204
    assert me.get("/auth/validate").status == 401 and all(works(url, key) for url in urls for key in keys)
    me.token = login(urls[1], me.username, first)
    assert me.post("/auth/logout").status == 204 and all(works(url, key) for url in urls for key in keys)
    me.token = login(urls[1], me.username, first)
    assert me.put("/auth/password", {"current_password": first, "new_password": second, "keys": "end"}).status == 204
    for url in urls:
        for key in keys:
            assert_refused(url, key, "invalid")
    me.token = login(urls[0], me.username, second)
    assert me.get("/auth/keys").json["items"] == []
    assert works(urls[1], make(me)["key"])


def last_used(me):
    return me.get("/auth/keys").json["items"][0]["last_used_at"]


def test_the_list_says_when_a_key_was_used_and_nothing_keeps_the_key(pair):
    plat, urls = pair
    me = person(urls[0])
    made = make(me)
    assert last_used(me) is None
    assert works(urls[0], made["key"])
    wait_until(lambda: last_used(me) is not None, 30, "the use is noted")
    Client(urls[0], me.token).delete(f"/auth/keys/{made['key']}")
    Client(urls[1], me.token).get(f"/v1/functions/{made['key']}")
    secret = KEY.fullmatch(made["key"])[2].encode()
    for path in pathlib.Path(plat.data).rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes(), path
    logged = "".join(p.read_text(errors="replace") for p in pathlib.Path(plat.data, "log").glob("gateway*.log"))
    assert f'"key":"{made["id"]}"' in logged


def test_an_auth_that_stands_still_breaks_no_key_in_use(pair):
    plat, urls = pair
    me = person(urls[0])
    name = me.register("faas-examples/echo:latest")
    used, new = make(me)["key"], make(me)["key"]
    assert all(works(url, used) for url in urls)
    stopped = plat.pids("auth")
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        for url in urls:
            assert Client(url, used).call(name, "still").text == "still"
        doc = Client(urls[0], new).get("/auth/validate").problem(503, "unavailable")  # it may be good: not 401
        assert "auth" in doc["detail"], doc
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: works(urls[0], new), 30, "auth answers again")


def test_keys_and_their_ends_survive_every_process(pair):
    plat, urls = pair
    me = person(urls[0])
    gone, stays = make(me), make(me)
    assert all(works(url, key["key"]) for url in urls for key in (gone, stays))
    assert me.delete(f"/auth/keys/{gone['id']}").status == 204
    for pid in plat.pids("gateway") + plat.pids("auth"):
        os.kill(pid, signal.SIGKILL)
    for url in urls:
        wait_until(lambda u=url: answers(u, stays["key"]), 60, "the platform is back")
        assert_refused(url, gone["key"], "invalid")


def answers(url, key):
    try:
        return works(url, key)
    except OSError:
        return False


def test_the_command_line_makes_lists_and_ends_keys(pair, tmp_path):
    plat, urls = pair
    me = person(urls[0])

    def faas(*args, env=None, **more):
        return subprocess.run([plat.faas, *args], env={**plat.env, "FAAS_URL": urls[0], **(env or {"FAAS_TOKEN": me.token})}, text=True, capture_output=True, timeout=60, **more)

    made = faas("apikey", "create", "nightly", "--verb", "read", "--verb", "invoke", "--function", "re*", "--expires", "12h")
    assert made.returncode == 0 and KEY.fullmatch(made.stdout.strip()), (made.stdout, made.stderr)
    key, key_id = made.stdout.strip(), KEY.fullmatch(made.stdout.strip())[1]
    assert key_id in made.stderr and key not in made.stderr
    listed = faas("apikey", "list")
    assert key_id in listed.stdout and "invoke,read" in listed.stdout and "re*" in listed.stdout and key not in listed.stdout
    file = tmp_path / "key"
    file.write_text(key + "\n")
    file.chmod(0o644)
    as_machine = {"FAAS_KEY_FILE": str(file)}
    refused = faas("whoami", env=as_machine)
    assert refused.returncode == 2 and "chmod" in refused.stderr, refused.stderr
    file.chmod(0o600)
    assert me.username in faas("whoami", env=as_machine).stdout
    denied = faas("apikey", "list", env=as_machine)
    assert denied.returncode == 4 and "API key" in denied.stderr, denied.stderr
    both = faas("whoami", env={**as_machine, "FAAS_TOKEN": me.token})
    assert both.returncode == 2 and "FAAS_KEY_FILE" in both.stderr
    assert faas("whoami", env={"FAAS_KEY_FILE": str(tmp_path / "none")}).returncode == 2
    (tmp_path / "empty").touch(0o600)
    (tmp_path / "blank").write_text("\n")
    (tmp_path / "blank").chmod(0o600)
    for path in ("empty", "blank"):
        wrong = faas("whoami", env={"FAAS_KEY_FILE": str(tmp_path / path)})
        assert wrong.returncode == 2 and path in wrong.stderr, wrong.stderr
    for args, named in ((("--expires", "90"), "--expires"), (("--expires", "0d"), "--expires"), (("--expires", "99999d"), "--expires"), (("--verb", "x"), "verbs"), (("--function", "a b"), "functions")):
        wrong = faas("apikey", "create", "x", *args)
        assert wrong.returncode == 2 and named in wrong.stderr and wrong.stdout == "", (args, wrong.stderr)
    whole = faas("apikey", "remove", key)
    assert whole.returncode == 2 and KEY.fullmatch(key)[2] not in whole.stderr, whole.stderr
    assert faas("apikey", "remove", "0" * 16).returncode == 4
    assert faas("apikey", "remove", key_id).returncode == 0
    ended = faas("whoami", env=as_machine)
    assert ended.returncode == 3 and "API key" in ended.stderr, ended.stderr
    assert faas("apikey", "list").stdout == ""


def test_the_commands_of_the_document_run_as_printed(pair, tmp_path):
    plat, urls = pair
    page = (conftest.ROOT / "docs/KEYS.md").read_text().split("\n## API keys", 1)[1]
    script = re.findall(r"```sh\n(.*?)```", page, re.S)[0]
    assert "faas apikey create" in script and "http://127.0.0.1:8080" in script
    me = person(urls[0])
    me.register("faas-examples/echo:latest", name="report-daily")
    login_done = subprocess.run([plat.faas, "login", me.username, "--password-stdin"], env={**plat.env, "FAAS_URL": urls[0]}, input=me.password, text=True, capture_output=True)
    assert login_done.returncode == 0, login_done.stderr
    env = {**plat.env, "FAAS_URL": urls[0], "PATH": f"{conftest.BIN}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script.replace("http://127.0.0.1:8080", urls[0])], cwd=tmp_path, env=env, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert (tmp_path / "nightly.key").stat().st_mode & 0o777 == 0o600
    assert done.stdout.startswith("mondaymonday") and "nightly" in done.stdout and "removed" in done.stdout, done.stdout
    assert_refused(urls[1], (tmp_path / "nightly.key").read_text().strip(), "invalid")


def test_a_token_makes_no_key_behind_the_end_of_all(pair):
    _, urls = pair
    me = person(urls[0])
    stop, made = threading.Event(), []

    def grab(url):
        while not stop.is_set():
            answer = Client(url, me.token).post("/auth/keys", {"name": "again"})
            if answer.status == 201:
                made.append(answer.json["key"])

    grabbers = [threading.Thread(target=grab, args=(url,)) for url in urls]
    for grabber in grabbers:
        grabber.start()
    wait_until(lambda: made, 20, "keys are made with the token")
    answer = me.put("/auth/password", {"current_password": me.password, "new_password": secrets.token_hex(12), "keys": "end"})
    stop.set()
    for grabber in grabbers:
        grabber.join()
    assert answer.status == 204, answer.text
    for url in urls:
        assert [key for key in made if works(url, key)] == []
