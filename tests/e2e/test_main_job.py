"""Register, log in, register a function by image, call it, get its stdout."""
import concurrent.futures
import json
import secrets

import pytest

from support import Client, unique


def test_health_paths_answer_ok(platform):
    for path in ("/healthz", "/auth/health", "/registry/health", "/publisher/health"):
        answer = Client(platform.url).get(path)
        assert (answer.status, answer.body) == (200, b"OK"), (path, answer.status, answer.text)


def test_the_whole_walk(platform):
    anonymous, name = Client(platform.url), unique("Walker")
    made = anonymous.post("/auth/register", {"username": name, "password": "correct horse"})
    assert made.status == 201 and made.json["username"] == name.lower() and set(made.json) == {"id", "username"}
    login = anonymous.post("/auth/login", {"username": name, "password": "correct horse"})
    assert login.status == 200 and login.json["token_type"] == "Bearer" and login.json["expires_in"] == 43200
    user = Client(platform.url, login.json["token"])
    who = user.get("/auth/validate")
    assert who.status == 200 and who.json["id"] == made.json["id"] and who.json["username"] == name.lower() and who.json["expires_at"]
    record = user.post("/registry/register", {"name": "Shout", "description": "d", "payload": "faas-examples/upper:latest"})
    assert record.status == 201, record.text
    assert record.json["name"] == "Shout" and record.json["uuid"] == made.json["id"] and record.json["version"] == 1
    assert record.json["digest"]["kind"] in ("docker-id", "manifest", "store")
    assert user.get("/registry/retrieve", {"name": "Shout"}).json == record.json
    assert user.get("/registry/retrieve?name=Shout").json == record.json
    assert user.get("/registry/list").json == [record.json]
    called = user.call("Shout", "abc")
    assert (called.status, called.body) == (200, b"ABC"), (called.status, called.text)
    assert called.headers["Content-Type"] == "text/plain; charset=utf-8"
    for header in ("X-Call-Id", "X-Start", "X-Duration-Ms", "X-Exit-Code", "X-Served-By", "Server-Timing"):
        assert called.headers[header], header
    assert user.delete("/registry/delete", {"name": "Shout"}).status == 204
    user.get("/registry/retrieve?name=Shout").problem(404, "not_found")
    user.call("Shout", "abc").problem(404, "not_found")
    assert user.get("/registry/list").json == []


def test_a_bare_token_is_accepted(client, platform):
    bare = Client(platform.url).get("/auth/validate", headers={"Authorization": client.token})
    assert bare.status == 200


@pytest.mark.parametrize("argument", [
    "abc", "", "-n", "--help", "a\"b\\c'd", "line\nline\r\n\ttab", "ünïcödé 漢字 🚀", "x\",\"image_reference\":\"evil", "$(id) `id` ; id", " " * 10,
    "\x01\x1b[31m", "{}", "a" * 131071, "é" * 65535,
])
def test_the_argument_arrives_byte_for_byte(client, functions, argument, promise):
    answer = client.call("echo", argument)
    assert answer.status == 200 and answer.body == argument.encode(), (answer.status, answer.text[:200])
    promise(26, "0 bytes differ")


def test_function_path_takes_the_body_as_the_argument(client, functions):
    for body in (b"plain text", b'{"json": true}', b"", "é".encode()):
        answer = client.post("/function/echo", body, headers={"Content-Type": "application/x-anything"})
        assert (answer.status, answer.body) == (200, body)
    assert client.get("/function/echo").body == b""


def test_resource_paths_show_the_same_records(other):
    made = other.post("/v1/functions", {"name": "one", "payload": "faas-examples/echo:latest", "labels": {"a": "b"}})
    assert made.status == 201, made.text
    assert other.get("/v1/functions/one").json == made.json
    changed = other.request("PATCH", "/v1/functions/one", {"timeout_ms": 5000})
    assert changed.status == 200 and changed.json["timeout_ms"] == 5000 and changed.json["version"] == 2 and changed.json["labels"] == {"a": "b"}
    stale = other.request("PATCH", "/v1/functions/one", {"timeout_ms": 6000, "version": 1})
    stale.problem(409, "conflict")
    replaced = other.put("/v1/functions/one", {"payload": "faas-examples/echo:latest"})
    assert replaced.status == 200 and replaced.json["timeout_ms"] == 30000 and replaced.json["version"] == 3
    for name in ("two", "three"):
        other.register("faas-examples/echo:latest", name)
    first = other.get("/v1/functions?limit=2").json
    second = other.get(f"/v1/functions?limit=2&cursor={first['next_cursor']}").json
    assert [r["name"] for r in first["items"] + second["items"]] == ["one", "three", "two"] and second["next_cursor"] is None
    assert [r["name"] for r in other.get("/v1/functions?q=hre").json["items"]] == ["three"]
    assert other.delete("/v1/functions/one").status == 204
    other.get("/v1/functions/one").problem(404, "not_found")


def test_update_keeps_what_was_not_named(other):
    name = other.register("faas-examples/echo:latest", description="first", env={"A": "1"})
    before = other.get(f"/registry/retrieve?name={name}").json
    after = other.post("/registry/update", {"name": name, "description": "second"})
    assert after.status == 200, after.text
    assert after.json["description"] == "second" and after.json["env"] == {"A": "1"}
    assert after.json["id"] == before["id"] and after.json["version"] == before["version"] + 1 and after.json["created_at"] == before["created_at"]
    other.post("/registry/update", {"name": "nobody"}).problem(404, "not_found")


def test_an_update_is_seen_by_the_next_call_everywhere(other):
    name = other.register("faas-tests/fail:latest", env={"ROUND": "0"})
    for turn in range(1, 8):
        assert other.post("/registry/update", {"name": name, "env": {"ROUND": str(turn)}}).status == 200
        assert [other.call(name, "env ROUND").body for _ in range(2)] == [str(turn).encode()] * 2
        assert all(other.get("/registry/list").json[0]["env"] == {"ROUND": str(turn)} for _ in range(4))


def test_delete_and_register_again_is_another_function(other):
    name = other.register("faas-examples/upper:latest")
    first = other.get(f"/registry/retrieve?name={name}").json
    assert other.delete("/registry/delete", {"name": name}).status == 204
    other.register("faas-examples/echo:latest", name)
    second = other.get(f"/registry/retrieve?name={name}").json
    assert second["id"] != first["id"] and second["version"] == 1
    assert other.call(name, "abc").body == b"abc"


def test_registering_a_name_twice_is_a_conflict(other):
    name = other.register("faas-examples/echo:latest")
    other.post("/registry/register", {"name": name, "payload": "faas-examples/echo:latest"}).problem(409, "conflict")


def test_two_users_may_use_one_function_name(client, other, functions):
    other.register("faas-examples/echo:latest", "upper")
    assert other.call("upper", "abc").body == b"abc"
    assert client.call("upper", "abc").body == b"ABC"


def test_another_users_function_does_not_exist(platform, other, functions, promise):
    stranger = Client.new(platform.url)
    for answer in (stranger.get("/registry/retrieve?name=echo"), stranger.call("echo", "x"), stranger.delete("/registry/delete?name=echo"),
                   stranger.post("/function/echo", b"x"), stranger.post("/registry/update", {"name": "echo", "description": "mine"})):
        answer.problem(404, "not_found")
    assert stranger.get("/registry/list").json == []
    promise(4, "0 of 6 requests reached another user's function")


def test_exactly_one_of_fifty_concurrent_registrations_wins(platform, promise):
    for _ in range(4):
        name = unique("race")
        body = {"username": name, "password": secrets.token_hex(8)}
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            got = [f.result() for f in [pool.submit(Client(platform.url).post, "/auth/register", body) for _ in range(50)]]
        counts = {s: [a.status for a in got].count(s) for s in {a.status for a in got}}
        assert counts.get(201) == 1, counts
        assert set(counts) <= {201, 409, 429}, counts
        winner = next(a for a in got if a.status == 201)
        login = Client(platform.url).post("/auth/login", body)
        assert login.status == 200, login.text
        assert Client(platform.url, login.json["token"]).get("/auth/validate").json["id"] == winner.json["id"]
    promise(5, "1 winner of 50 user registrations, in 4 of 4 rounds")


def test_exactly_one_of_twenty_concurrent_function_registrations_wins(other, promise):
    body = {"name": unique("f"), "payload": "faas-examples/echo:latest"}
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        got = [f.result().status for f in [pool.submit(other.post, "/registry/register", body) for _ in range(20)]]
    assert got.count(201) == 1 and got.count(409) == 19, got
    promise(5, "1 winner of 20 function registrations")


def test_parallel_answers_are_not_crossed(client, functions, promise):
    arguments = [f"{i}-{secrets.token_hex(200)}" for i in range(60)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        got = list(pool.map(lambda a: client.call("echo", a).body.decode(), arguments))
    assert got == arguments
    promise(27, "0 of 60 answers crossed")


def test_call_ids_are_ours_and_the_clients_is_only_a_label(client, functions):
    first = client.call("echo", "1")
    again = client.call("echo", "2", headers={"X-Call-Id": first.headers["X-Call-Id"]})
    assert again.body == b"2" and again.headers["X-Call-Id"] != first.headers["X-Call-Id"]


def test_public_keys_are_published(platform):
    keys = Client(platform.url).get("/auth/.well-known/jwks.json").json["keys"]
    assert keys and all(k["kty"] == "EC" and k["crv"] == "P-256" and k["alg"] == "ES256" and "d" not in k for k in keys)


def test_a_record_has_every_field_with_its_default(other):
    name = other.register("faas-examples/echo:latest")
    record = other.get(f"/registry/retrieve?name={name}").json
    expected = {"timeout_ms": 30000, "start_timeout_ms": 30000, "max_wait_ms": 0, "input": "argv", "env": {}, "secrets": [], "network": "none",
                "reuse": "fresh", "content_type": "", "concurrency": 0, "labels": {}, "version": 1, "description": "",
                "limits": {"memory_mb": 128, "cpus": 1.0, "pids": 128, "tmp_mb": 64, "output_mb": 6},
                "retry": {"idempotent": False, "attempts": 3, "backoff_ms": 200, "on": []}}
    assert {k: record.get(k) for k in expected} == expected, json.dumps(record, indent=1)
    assert record["created_at"].endswith("Z") and record["created_at"] == record["updated_at"]
