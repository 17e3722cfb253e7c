"""Tokens that end before they expire: logout and a change of password, seen by every gateway at once."""
import os
import secrets
import signal

import pytest

import conftest
from support import Client, Platform, free_port, unique, wait_until


@pytest.fixture(scope="module")
def pair(engine, tmp_path_factory):
    """A platform with two gateways and two auths, and the URLs of the gateways."""
    data = tmp_path_factory.mktemp("sessions")
    plat = Platform(conftest.BIN, str(data), free_port(), {"gateway": 2, "auth": 2}, engine)
    plat.up()
    port = int(plat.listen.split(":")[1])
    yield plat, [f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"]
    plat.down()
    plat.check_logs()


def account(url):
    name, password = unique(), secrets.token_hex(12)
    made = Client(url).post("/auth/register", {"username": name, "password": password})
    assert made.status == 201, made.text
    return name, password


def login(url, name, password):
    done = Client(url).post("/auth/login", {"username": name, "password": password})
    assert done.status == 200, done.text
    return done.json["token"]


def assert_revoked(url, token):
    answer = Client(url, token).get("/auth/validate")
    doc = answer.problem(401, "unauthenticated")
    assert doc["reason"] == "revoked" and "revoked" in answer.headers["WWW-Authenticate"], doc
    assert Client(url, token).get("/registry/list").status == 401


def test_a_logged_out_token_is_refused_at_once_by_both_gateways(pair):
    _, urls = pair
    name, password = account(urls[0])
    for i in range(6):
        gone, stays = login(urls[0], name, password), login(urls[1], name, password)
        for url in urls:  # now both have it in their caches
            assert Client(url, gone).get("/auth/validate").status == 200
        assert Client(urls[i % 2], gone).post("/auth/logout").status == 204
        for url in urls:
            assert_revoked(url, gone)
            assert Client(url, stays).get("/auth/validate").status == 200
    Client(urls[0], gone).post("/auth/logout").problem(401, "unauthenticated")
    Client(urls[0]).post("/auth/logout").problem(401, "unauthenticated")


def test_a_new_password_ends_every_token_and_the_old_password(pair):
    _, urls = pair
    name, password = account(urls[0])
    tokens = [login(url, name, password) for url in urls for _ in range(2)]
    wanted = secrets.token_hex(12)
    mine = Client(urls[0], tokens[0])
    mine.put("/auth/password", {"current_password": "not this one", "new_password": wanted}).problem(403, "denied")
    mine.put("/auth/password", {"current_password": password, "new_password": "short"}).problem(400, "invalid_request")
    mine.put("/auth/password", {"current_password": password}).problem(400, "invalid_request")
    assert mine.get("/auth/validate").status == 200  # nothing was changed yet
    assert mine.put("/auth/password", {"current_password": password, "new_password": wanted}).status == 204
    for token in tokens:
        for url in urls:
            assert_revoked(url, token)
    Client(urls[1]).post("/auth/login", {"username": name, "password": password}).problem(401, "unauthenticated")
    for url in urls:
        assert Client(url, login(url, name, wanted)).get("/auth/validate").status == 200


def test_a_restarted_gateway_still_knows(pair):
    plat, urls = pair
    name, password = account(urls[0])
    gone = login(urls[0], name, password)
    assert Client(urls[0], gone).post("/auth/logout").status == 204
    for pid in plat.pids("gateway"):
        os.kill(pid, signal.SIGKILL)
    for url in urls:
        wait_until(lambda u=url: healthy(u), 30, "the gateway is back")
        assert_revoked(url, gone)


def healthy(url):
    try:
        return Client(url).get("/healthz", timeout=5).status == 200
    except OSError:
        return False


def test_guessing_is_slowed_down_and_keeps_nobody_out(engine, tmp_path, promise):
    plat = Platform(conftest.BIN, str(tmp_path), free_port(), {}, engine)
    plat.up()
    try:
        guess(plat.url)
    finally:
        plat.down()
        plat.check_logs()
    promise(28, "5 guesses evaluated, then 429 with Retry-After, for a known and an unknown name")
    promise(29, "0 of 1 logins of another account refused meanwhile")


def guess(url):
    name, password = account(url)
    other = account(url)
    for victim in (name, unique("nobody")):  # the answers do not tell which one there is
        for _ in range(5):
            Client(url).post("/auth/login", {"username": victim, "password": "a wrong guess"}).problem(401, "unauthenticated")
        answer = Client(url).post("/auth/login", {"username": victim, "password": password})
        doc = answer.problem(429, "busy")
        assert doc["component"] == "auth" and "too many failed logins" in doc["detail"], doc
        assert 1 <= int(answer.headers["Retry-After"]) <= 2, answer.headers["Retry-After"]
    assert login(url, *other)
    wait_until(lambda: Client(url).post("/auth/login", {"username": name, "password": password}).status == 200, 10, "the wait is over")
    assert login(url, name, password)
