"""Another signing key, without a request that fails; the old one ends when the last token it signed has."""
import json
import os
import pathlib
import threading
import time
import uuid

import pytest
from cryptography.hazmat.primitives import serialization

import conftest
from forging import Key, signed, unb64
from support import Client, Platform, free_port, wait_until


def start(engine, path, env=None):
    plat = Platform(conftest.BIN, str(path), free_port(), {"gateway": 2, "auth": 2}, engine, env)
    plat.up()
    port = int(plat.listen.split(":")[1])
    plat.urls = [f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"]
    return plat


@pytest.fixture(scope="module")
def pair(engine, tmp_path_factory):
    """A platform with two gateways and two auths."""
    plat = start(engine, tmp_path_factory.mktemp("keys"), {"RATE_USER": "0"})  # the load is one user
    yield plat
    plat.down()
    plat.check_logs()


def kid_of(token):
    return json.loads(unb64(token.split(".")[0]))["kid"]


def login(url, user):
    done = Client(url).post("/auth/login", {"username": user[0], "password": user[1]})
    assert done.status == 200, done.text
    return done.json["token"]


def account(url):
    user = (f"u{uuid.uuid4().hex[:12]}", uuid.uuid4().hex)
    assert Client(url).post("/auth/register", {"username": user[0], "password": user[1]}).status == 201
    return user


def published(url):
    return [k["kid"] for k in Client(url).get("/auth/.well-known/jwks.json").json["keys"]]


def rotate(plat):
    done = plat.run("keys", "rotate", "--data", plat.data, "--json")
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout)


def write_key(plat, text):
    """As an operator without the verb would: a new file, renamed onto the old one."""
    path = pathlib.Path(plat.data, "keys/token-1.pem")
    fresh = path.with_suffix(".new")
    fresh.touch(0o600)
    fresh.write_bytes(text)
    os.replace(fresh, path)


def pem(key):
    return key.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


class Load:
    """Requests of every kind, one after the other in each of several threads, until told to stop; every failure is kept."""

    def __init__(self, plat, user):
        self.plat, self.user = plat, user
        self.first = login(plat.url, user)
        self.name = Client(plat.url, self.first).register("faas-examples/echo:latest", max_wait_ms=30000)  # a moment of a busy machine is no failure
        self.is_over, self.failures, self.kids = threading.Event(), [], set()
        self.counts = dict.fromkeys(("login", "validate", "list", "call"), 0)
        self.threads = [threading.Thread(target=self.run, args=(kind, i)) for kind in self.counts for i in range(2)]

    def once(self, kind, url, token):
        client = Client(url, token)
        if kind == "login":
            token = login(url, self.user)
            self.kids.add(kid_of(token))
            done = Client(url, token).get("/auth/validate")  # at once, where it came from
            assert done.status == 200, done.text
        elif kind == "validate":
            done = client.get("/auth/validate")
        elif kind == "list":
            done = client.get("/registry/list")
        else:
            done = client.call(self.name, "under load")
            assert done.body == b"under load", (done.status, done.text)
        assert done.status == 200, (done.status, done.text)
        return token

    def run(self, kind, i):
        token = self.first
        while not self.is_over.is_set():
            try:
                token = self.once(kind, self.plat.urls[i % 2], token)
                if kind == "login" and self.counts[kind] % 3 == 0:
                    assert Client(self.plat.urls[(i + 1) % 2], token).get("/auth/validate").status == 200  # and at the other door
                self.counts[kind] += 1
            except Exception as e:  # noqa: BLE001 - whatever it is, it counts
                self.failures.append((kind, repr(e)[:300]))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        for thread in self.threads:
            thread.join()

    def wait(self, more):
        """So many more requests of each kind have been answered."""
        goal = {kind: count + more for kind, count in self.counts.items()}
        wait_until(lambda: self.failures or all(self.counts[k] >= goal[k] for k in goal), 120, f"{more} more of each kind: {self.counts}")


def test_rotating_under_load_fails_no_request(pair):
    user = account(pair.url)
    tokens, kids = [login(pair.url, user)], [kid_of(login(pair.url, user))]
    old_text = pathlib.Path(pair.data, "keys/token-1.pem").read_bytes()
    with Load(pair, user) as load:
        load.wait(3)
        for _ in range(3):
            said = rotate(pair)
            kids.append(said["kid"])
            assert said["used"] is True
            # From the verb's end on every auth signs with it; both answer here, in turn.
            tokens += [login(url, user) for url in pair.urls * 3]
            assert {kid_of(t) for t in tokens[-6:]} == {said["kid"]}
            load.wait(3)
    print(f"three rotations: {sum(load.counts.values())} requests {load.counts}, {len(load.failures)} failed")
    assert load.failures == [] and load.kids == set(kids), (load.failures[:5], load.kids, kids)
    for url in pair.urls:
        for token in tokens:  # of the first key and of all others
            assert Client(url, token).get("/auth/validate").status == 200
        assert published(url) == kids[::-1]
    found = {p.name: p for p in pathlib.Path(pair.data, "keys").iterdir()}
    assert "token-1.pem" in found and found["token-1.pem"].stat().st_mode & 0o777 == 0o600
    assert all(p.read_bytes() != old_text for p in found.values())  # the private half is gone


def test_a_file_put_in_its_place_is_enough(pair):
    """Services run by hand: no verb, no signal, no restart."""
    user, key = account(pair.url), Key()
    before, pids = login(pair.url, user), pair.pids("auth")
    write_key(pair, pem(key))
    wait_until(lambda: {kid_of(login(url, user)) for url in pair.urls * 2} == {key.kid}, 60, "both auths sign with the file's key")
    assert Client(pair.url, before).get("/auth/validate").status == 200 and pair.pids("auth") == pids


def test_a_file_that_is_no_key_changes_nothing(pair):
    user = account(pair.url)
    path = pathlib.Path(pair.data, "keys/token-1.pem")
    good, kid = path.read_bytes(), kid_of(login(pair.url, user))
    write_key(pair, b"not a key")
    wait_until(lambda: sum("the changed signing keys cannot be used" in log for name, log in pair.logs().items() if name.startswith("auth")) == 2, 60,
               "both auths say so")
    assert {kid_of(login(url, user)) for url in pair.urls * 2} == {kid}
    write_key(pair, good)


def test_a_rotation_while_nothing_runs_counts_from_the_next_start(pair):
    user = account(pair.url)
    before = login(pair.url, user)
    pair.down()
    said = rotate(pair)
    assert said["used"] is False
    pair.up()
    assert kid_of(login(pair.url, user)) == said["kid"] != kid_of(before)
    for url in pair.urls:
        assert Client(url, before).get("/auth/validate").status == 200


def test_a_key_that_is_lost_ends_at_once(pair):
    user = account(pair.url)
    old = Key.read(pathlib.Path(pair.data, "keys/token-1.pem"))  # a thief's copy
    before = login(pair.url, user)
    claims, header = json.loads(unb64(before.split(".")[1])), {"typ": "JWT", "alg": "ES256", "kid": old.kid}
    stolen = [signed(old, header, {**claims, "exp": int(time.time()) + 10**6, "jti": str(uuid.uuid4())}) for _ in range(2)]
    for url in pair.urls:  # verified before, so remembered
        assert Client(url, before).get("/auth/validate").status == Client(url, stolen[0]).get("/auth/validate").status == 200
    done = pair.run("keys", "rotate", "--end-others", "--data", pair.data)
    assert done.returncode == 0 and "count no more" in done.stdout + done.stderr, (done.returncode, done.stdout, done.stderr)
    for url in pair.urls:
        for token in (before, *stolen):
            assert Client(url, token).get("/auth/validate").status == 401
        fresh = login(url, user)
        assert published(url) == [kid_of(fresh)] != [old.kid]
        assert Client(url, fresh).get("/auth/validate").status == 200


def test_the_verb_says_what_is_wrong(pair, tmp_path):
    for args, status, text in ((("keys", "list"), 2, "rotate"), (("keys",), 2, "keys"), (("keys", "rotate", "--data", str(tmp_path)), 2, "no keys here"),
                               (("keys", "rotate", "--end-others", "--data", str(tmp_path)), 2, "no keys here")):
        done = pair.run(*args)
        assert done.returncode == status and text in done.stderr, (args, done.returncode, done.stderr)


def test_the_old_key_ends_with_its_last_token(engine, tmp_path):
    plat = start(engine, tmp_path, {"TOKEN_TTL": "15"})
    try:
        user = account(plat.url)
        old = Key.read(tmp_path / "keys/token-1.pem")  # a thief's copy
        claims = json.loads(unb64(login(plat.url, user).split(".")[1]))
        assert rotate(plat)["kid"] != old.kid
        header = {"typ": "JWT", "alg": "ES256", "kid": old.kid}
        stolen = signed(old, header, {**claims, "exp": int(time.time()) + 10**6})
        assert Client(plat.url, stolen).get("/auth/validate").status == 200  # the control: the key still counts
        wait_until(lambda: old.kid not in published(plat.url), 90, "the old key is no longer published")
        for url in plat.urls:
            wait_until(lambda u=url: Client(u, signed(old, header, {**claims, "exp": int(time.time()) + 10**6, "jti": str(uuid.uuid4())})).get(
                "/auth/validate").status == 401, 60, "a token of the old key is refused")
            wait_until(lambda u=url: Client(u, stolen).get("/auth/validate").status == 401, 60, "even one that was verified before")
            assert Client(url, login(url, user)).get("/auth/validate").status == 200
    finally:
        plat.down()
        plat.check_logs()
