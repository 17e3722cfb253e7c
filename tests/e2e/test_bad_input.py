"""Input that breaks a rule gets an answer that names what to change; nothing crashes and nothing is stored."""
import json
import re
import time

import pytest

import conftest
from support import Client, Platform, free_port, raw, unique


@pytest.mark.parametrize("body, hint", [
    (b"", ""), (b"not json", "JSON"), (b"[1]", "object"), (b"\"text\"", "object"), (b"{\"name\":", "JSON"), (b"\xff\xfe{}", ""),
    (b'{"name":"x"} trailing', ""), (b'{"name":"x","name":"y","payload":"z"}', "name"),
])
def test_bodies_that_are_no_json_object(other, body, hint, promise):
    answer = other.post("/registry/register", body).problem(400, "invalid_request")
    assert hint in answer["detail"], answer
    promise(11, "0 bodies accepted")


@pytest.mark.parametrize("fields, named", [
    ({"name": 7}, "name"), ({"payload": True}, "payload"), ({"description": {}}, "description"), ({"surprise": 1}, "surprise"),
    ({"timeout_ms": "1"}, "timeout_ms"), ({"timeout_ms": 99}, "timeout_ms"), ({"timeout_ms": 3600001}, "timeout_ms"),
    ({"limits": {"memory_mb": "64"}}, "limits.memory_mb"), ({"limits": {"colour": 1}}, "limits.colour"), ({"limits": {"output_mb": 65}}, "limits.output_mb"),
    ({"input": "pipe"}, "input"), ({"network": "host"}, "network"), ({"reuse": "always"}, "reuse"), ({"env": {"A": 1}}, "env"),
    ({"env": {"A=B": "x"}}, "env"), ({"labels": []}, "labels"), ({"concurrency": -1}, "concurrency"), ({"description": "x" * 1025}, "description"),
    ({"name": ""}, "name"), ({"name": "-dash"}, "name"), ({"name": "a" * 64}, "name"), ({"name": "sp ace"}, "name"), ({"name": "*"}, "name"),
    ({"name": "a.b"}, "name"), ({"name": "../x"}, "name"), ({"name": "é"}, "name"), ({"id": "x"}, "id"), ({"version": 3}, "version"),
])
def test_a_broken_rule_names_its_field(other, fields, named, promise):
    body = {"name": "fine", "description": "", "payload": "faas-examples/echo:latest", **fields}
    answer = other.post("/registry/register", body).problem(400, "invalid_request")
    assert named in answer["detail"], answer
    assert other.get("/registry/list").json == []
    promise(6, "0 registered, the field is named")


@pytest.mark.parametrize("name", ["", "a", "A B", "a/b", "a.b", "*", ">", "-a", "é" * 3, "a" * 33, "a\nb", "a\u0000b", None, 5, {}])
def test_bad_user_names_are_refused(platform, name):
    Client(platform.url).post("/auth/register", {"username": name, "password": "correct horse"}).problem(400, "invalid_request")
    assert Client(platform.url).get("/auth/health").status == 200


@pytest.mark.parametrize("password", ["", "short", "x" * 1025, "password", None, 12345678, ["a"]])
def test_bad_passwords_are_refused(platform, password):
    Client(platform.url).post("/auth/register", {"username": unique(), "password": password}).problem(400, "invalid_request")


def test_a_password_equal_to_the_name_is_refused(platform):
    name = unique("longname")
    Client(platform.url).post("/auth/register", {"username": name, "password": name}).problem(400, "invalid_request")


def test_unknown_user_and_wrong_password_answer_alike(platform, other, promise):
    anonymous = Client(platform.url)
    wrong = anonymous.post("/auth/login", {"username": other.username, "password": "wrong password"}).problem(401, "unauthenticated")
    unknown = anonymous.post("/auth/login", {"username": unique(), "password": "wrong password"}).problem(401, "unauthenticated")
    for doc in (wrong, unknown):
        doc.pop("call_id", None)
    assert wrong == unknown
    promise(30, "1 answer for an unknown user and for a wrong password")


@pytest.mark.parametrize("header, reason", [
    (None, "missing"), ("", "missing"), ("Bearer ", "missing"), ("Bearer nonsense", "invalid"), ("Basic dXNlcjpwYXNz", "invalid"),
    ("Bearer a.b.c", "invalid"), ("Bearer " + "x" * 5000, "invalid"),
    ("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", "invalid"),
])
def test_a_token_that_is_none_is_refused_everywhere(platform, header, reason):
    headers = {} if header is None else {"Authorization": header}
    for method, path in (("GET", "/auth/validate"), ("GET", "/registry/list"), ("POST", "/publisher/publish"), ("POST", "/function/echo")):
        answer = Client(platform.url).request(method, path, b"{}" if method == "POST" else None, headers)
        doc = answer.problem(401, "unauthenticated")
        assert reason in json.dumps(doc) and answer.headers["WWW-Authenticate"], doc


def guarded_routes():
    """(method, path) of every operation in docs/openapi.yaml that is not open to all."""
    paths = (conftest.ROOT / "docs/openapi.yaml").read_text().split("\npaths:\n", 1)[1].split("\ncomponents:\n", 1)[0]
    for path, block in re.findall(r"^  (/\S+):\n((?:    .*\n|\n)+)", paths, re.M):
        for method, operation in re.findall(r"^    (get|post|put|patch|delete):(.*\n(?:      .*\n)*)", block, re.M):
            if "security: []" not in operation:
                yield method.upper(), re.sub(r"\{\w+\}", "1", path)


def test_no_guarded_route_answers_without_a_valid_token(platform, client, promise):
    head, body, signature = client.token.split(".")
    tokens = [None, "", "x", "a.b.c", f"{head}.{body}.", f"{head}.{body}.{'A' * len(signature)}", f"{head}.{body[:-2]}.{signature}",
              "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."]
    routes = list(guarded_routes())
    assert len(routes) > 15 and ("POST", "/function/1") in routes and ("GET", "/v1/functions/1/versions/1") in routes, routes
    for method, path in routes:
        for token in tokens:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            Client(platform.url).request(method, path, b"{}" if method != "GET" else None, headers).problem(401, "unauthenticated")
    promise(1, f"0 of {len(routes) * len(tokens)} requests answered, on {len(routes)} routes")


def test_a_token_of_another_signature_is_refused(platform, client, promise):
    head, body, signature = client.token.split(".")
    flipped = ("A" if signature[10] != "A" else "B")
    for token in (f"{head}.{body}.{signature[:10]}{flipped}{signature[11:]}", f"{head}.{body}.", f"{head}.{body[:-2]}.{signature}", client.token + "x"):
        Client(platform.url, token).get("/auth/validate").problem(401, "unauthenticated")
    promise(2, "0 of 4 changed tokens accepted")


def test_owner_comes_from_the_token_only(platform, client, other, promise):
    for field in ("uuid", "uui"):
        mine = client.post("/registry/retrieve" if False else "/registry/update", {"name": "nobody", field: client.id})
        assert mine.status == 404
        client.post("/registry/update", {"name": "nobody", field: other.id}).problem(403, "denied")
        client.post("/publisher/publish", {"name": "nobody", "argument": "", field: other.id}).problem(403, "denied")
    promise(4, "0 of 4 requests in another user's name accepted")


def test_one_byte_too_long_an_argument_is_refused_with_the_number(client, functions):
    answer = client.call("echo", "a" * 131072).problem(413, "too_large")
    assert "131071" in answer["detail"] or "131,071" in answer["detail"], answer


def test_an_argument_that_cannot_be_an_argv_element_is_refused(client, functions):
    for body in (b"a\x00b", b"\xff\xfe"):
        answer = client.post("/function/echo", body).problem(400, "invalid_request")
        assert "stdin" in answer["detail"], answer


def test_publish_bodies(client, functions, promise):
    client.post("/publisher/publish", {"name": "echo"}).problem(400, "invalid_request")
    client.post("/publisher/publish", {"argument": "x"}).problem(400, "invalid_request")
    client.post("/publisher/publish", {"name": "echo", "argument": 5}).problem(400, "invalid_request")
    client.post("/publisher/publish", {"name": "echo", "argument": "x", "image_reference": "evil"}).problem(400, "invalid_request")
    client.post("/publisher/publish", {"name": "a.b*", "argument": "x"}).problem(400, "invalid_request")
    client.post("/publisher/publish", {"name": "nobody", "argument": "x"}).problem(404, "not_found")
    client.post("/publisher/publish", b"x" * (1024 * 1024 * 3)).problem(413, "too_large")
    promise(6, "0 of 4 calls with missing, wrong or unknown fields accepted")


@pytest.mark.parametrize("image, status", [
    ("", 400), ("UPPER", 400), ("UPPER/case", 422), ("a//b", 400), ("image:", 400), ("image:ta g", 400), ("-x", 400), ("image@sha256:12", 400), ("a" * 300, 400),
    ("http://host/image", 400), ("image?x=1", 400), ("../../etc", 400), ("f" * 64, 400), ("image\n", 400),
    ("faas-tests/there-is-none:latest", 422), ("127.0.0.1:1/nothing:latest", 422), ("docker.io/library/nothing-at-all:1", 422),
    ("faas-tests/no-command:latest", 422), ("faas-tests/shell-entrypoint:latest", 422),
])
def test_images_that_cannot_be(other, image, status):
    answer = other.post("/registry/register", {"name": "f", "payload": image})
    answer.problem(status, "invalid_request" if status == 400 else "unprocessable")
    assert other.get("/registry/list").json == []


def test_a_shell_form_entrypoint_is_refused_naming_the_fix(other):
    answer = other.post("/registry/register", {"name": "f", "payload": "faas-tests/shell-entrypoint:latest"}).problem(422, "unprocessable")
    assert "exec form" in answer["detail"] and "stdin" in answer["detail"], answer
    made = other.post("/registry/register", {"name": "f", "payload": "faas-tests/shell-entrypoint:latest", "input": "stdin"})
    assert made.status == 201, made.text


def test_paths_and_methods(client):
    client.get("/nothing").problem(404, "not_found")
    client.get("/").problem(404, "not_found")
    answer = client.put("/auth/login", {})
    answer.problem(405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"
    head = client.request("HEAD", "/healthz")
    assert head.status == 200 and head.body == b""


def test_parameters_from_query_or_body_but_not_both(client, functions):
    client.request("GET", "/registry/retrieve?name=echo", {"name": "echo"}).problem(400, "invalid_request")
    client.get("/registry/retrieve").problem(400, "invalid_request")
    client.get("/registry/retrieve?name=echo&name=upper").problem(400, "invalid_request")
    client.get("/registry/retrieve?nome=echo").problem(400, "invalid_request")
    client.get("/registry/retrieve?name=%zz").problem(400, "invalid_request")
    assert client.get("/registry/retrieve?name=%65cho").json["name"] == "echo"


@pytest.mark.parametrize("request_bytes", [
    b"GET /healthz HTTP/1.1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 1e3\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
    b"GET /health z HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /health\0z HTTP/1.1\r\nHost: a\r\n\r\n",
    b"nonsense\r\n\r\n",
])
def test_malformed_framing_is_refused_and_the_connection_closed(platform, request_bytes, promise):
    got = raw(platform.url, request_bytes + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", timeout=15)
    statuses = re.findall(rb"^HTTP/1\.1 (\d+)", got, re.M)  # libmicrohttpd 0.9.75 writes its own refusals' head twice
    assert all(s.startswith(b"4") for s in statuses) and len(statuses) <= 2 and b"OK" not in got.split(b"\r\n\r\n")[-1], got[:300]
    assert Client(platform.url).get("/healthz").status == 200
    promise(7, "0 requests let in, 0 smuggled behind them")


def test_http_1_0_and_pipelining(platform):
    got = raw(platform.url, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert got.startswith(b"HTTP/1.") and b" 200 " in got.split(b"\r\n")[0] and got.endswith(b"OK"), got
    two = raw(platform.url, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert two.count(b"HTTP/1.1 200") == 2, two


def test_an_expired_token_says_so(engine, tmp_path):
    short = Platform(conftest.BIN, str(tmp_path), free_port(), {}, engine, env={"TOKEN_TTL": "2"})
    short.up()
    try:
        user = Client.new(short.url)
        assert user.get("/auth/validate").status == 200
        end = time.time() + 15
        while user.get("/auth/validate").status == 200 and time.time() < end:
            time.sleep(0.2)
        answer = user.get("/auth/validate")
        doc = answer.problem(401, "unauthenticated")
        assert "expired" in doc["detail"] and "expired" in answer.headers["WWW-Authenticate"], doc
    finally:
        short.down()
