"""Secrets of functions, from outside: who can read them, when a change counts, and where their bytes never are."""
import base64
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

import conftest
from support import Client, Platform, free_port, stat_of, unique, wait_until
from test_image import is_root
from test_native_images import Native

pytestmark = pytest.mark.skipif(not is_root, reason="sandboxes need root")


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secrets")
    with Native(folder) as platform:
        (folder / "image/bin").mkdir(parents=True)
        shutil.copy("/bin/busybox", folder / "image/bin/busybox")
        pack(platform, folder / "image", "test/sh:1")
        yield platform


def pack(native, folder, tag):
    packed = native.plat.run("image", "pack", str(folder), "--tag", tag, "--data", native.plat.data,
                             *(word for part in ("/bin/busybox", "sh", "-c") for word in ("--entrypoint", part)))
    assert packed.returncode == 0, packed.stderr


@pytest.fixture
def user(native):
    return Client.new(native.plat.url)


def put(user, name, value, status=None):
    body = {"value": value} if isinstance(value, str) else {"value_base64": base64.b64encode(value).decode()}
    answer = user.put(f"/v1/secrets/{name}", body)
    assert answer.status in ((status,) if status else (200, 201)), (answer.status, answer.text)
    return answer.json


def run(user, name, script):
    answer = user.call(name, f"b() {{ /bin/busybox \"$@\"; }}; {script}")
    assert answer.status == 200, (answer.status, answer.text)
    return answer.body


def test_a_value_is_set_replaced_listed_and_never_shown(user):
    value = unique("VALUE")
    first = put(user, "db", value, 201)
    assert first["replaced"] is False and first["size"] == len(value) and value not in json.dumps(first)
    assert put(user, "db", value + "!", 200)["created_at"] == first["created_at"]
    again = user.post("/v1/secrets", {"name": "db", "value": value})
    assert again.status == 200, again.text
    put(user, "another", "")
    listed = user.get("/v1/secrets")
    assert [(i["name"], i["size"]) for i in listed.json["items"]] == [("another", 0), ("db", len(value))]
    assert listed.json["next_cursor"] is None and value not in listed.text
    assert set(listed.json["items"][0]) == {"name", "size", "created_at", "updated_at"}
    assert user.get("/v1/secrets/db").status == 405
    assert user.delete("/v1/secrets/another").status == 204
    user.delete("/v1/secrets/another").problem(404, "not_found")
    assert [i["name"] for i in user.get("/v1/secrets").json["items"]] == ["db"]


@pytest.mark.parametrize("body, status, code, says", [
    ({"name": "../x", "value": "v"}, 400, "invalid_request", "name"),
    ({"name": "a/b", "value": "v"}, 400, "invalid_request", "name"),
    ({"name": "", "value": "v"}, 400, "invalid_request", "name"),
    ({"name": "n" * 64, "value": "v"}, 400, "invalid_request", "name"),
    ({"name": "n"}, 400, "invalid_request", "value"),
    ({"name": "n", "value": "v", "value_base64": "dg=="}, 400, "invalid_request", "value"),
    ({"name": "n", "value_base64": "not base64"}, 400, "invalid_request", "value_base64"),
    ({"name": "n", "value": 5}, 400, "invalid_request", "value"),
    ({"name": "n", "value": "v", "colour": "red"}, 400, "invalid_request", "colour"),
    ({"name": "n", "value": "v", "uuid": "0190c8f6-0000-7000-8000-0000000000f1"}, 403, "denied", "uuid"),
    ({"name": "n", "value": "x" * (64 * 1024 + 1)}, 413, "too_large", "65536"),
    ({"name": "n", "value": "x" * (200 * 1024)}, 413, "too_large", "131072"),
])
def test_bad_requests_are_told_what_to_change(user, body, status, code, says):
    problem = user.post("/v1/secrets", body).problem(status, code)
    assert says in problem["detail"], problem
    assert user.get("/v1/secrets").json["items"] == []


def test_secrets_need_a_login(native):
    Client(native.plat.url).get("/v1/secrets").problem(401, "unauthenticated")
    Client(native.plat.url).put("/v1/secrets/db", {"value": "x"}).problem(401, "unauthenticated")


def test_a_function_reads_exactly_its_own(native, user):
    stranger = Client.new(native.plat.url)
    binary = bytes(range(256)) * 256
    put(user, "text", "grüße\n")
    put(user, "binary", binary)
    put(user, "empty", b"")
    put(user, "unused", "not for anybody")
    name = user.register("test/sh:1", secrets=["text", "binary", "empty"])
    for _ in range(3):  # in a fresh sandbox and in one made before
        assert run(user, name, "b cat /run/secrets/text") == "grüße\n".encode()
    assert run(user, name, "b cat /run/secrets/binary") == binary
    assert run(user, name, "b cat /var/openfaas/secrets/text") == "grüße\n".encode()
    assert run(user, name, "b ls /run/secrets").split() == [b"binary", b"empty", b"text"]
    assert run(user, name, "b stat -c '%a %s' /run/secrets/empty /run/secrets") == b"400 0\n500 100\n"
    assert run(user, name, "b id -u; b stat -c %u /run/secrets/text").split()[0] == run(user, name, "b stat -c %u /run/secrets/text").strip()
    for deed in ("echo x >/run/secrets/text", "b rm -f /run/secrets/text", "b touch /run/secrets/new", "b chmod 444 /run/secrets/text",
                 "b mount -o remount,rw /run/secrets", "b umount /run/secrets"):
        assert run(user, name, f"{deed} 2>/dev/null && echo DONE || echo refused").strip() == b"refused", deed
    assert run(user, name, "b cat /run/secrets/text") == "grüße\n".encode()
    bare = user.register("test/sh:1")
    assert run(user, bare, "b ls -a /run/secrets /var/openfaas/secrets 2>/dev/null; echo none") == b"none\n"
    stranger.post("/registry/register", {"name": "f", "description": "", "payload": "test/sh:1", "secrets": ["text"]}).problem(422, "unprocessable")
    put(stranger, "text", "another user's")
    theirs = stranger.register("test/sh:1", secrets=["text"])
    assert run(stranger, theirs, "b cat /run/secrets/text") == b"another user's"


def test_a_change_counts_for_the_next_call_also_where_a_sandbox_is_kept(user):
    put(user, "key", "0")
    fresh = user.register("test/sh:1", secrets=["key"])
    kept = user.register("test/sh:1", secrets=["key"], reuse="slot")
    for round in range(1, 25):
        assert run(user, fresh, "b cat /run/secrets/key") == str(round - 1).encode()
        assert run(user, kept, "b cat /run/secrets/key") == str(round - 1).encode()
        put(user, "key", str(round), 200)
        assert run(user, kept, "b cat /run/secrets/key") == str(round).encode()
        assert run(user, fresh, "b cat /run/secrets/key") == str(round).encode()


def test_a_function_names_only_what_there_is(user):
    problem = user.post("/registry/register", {"name": "f", "description": "", "payload": "test/sh:1", "secrets": ["nope"]}).problem(422, "unprocessable")
    assert "nope" in problem["detail"] and "secrets" in problem["detail"]
    assert user.get("/v1/functions").json["items"] == []
    user.post("/registry/register", {"name": "f", "description": "", "payload": "test/sh:1", "secrets": ["../x"]}).problem(400, "invalid_request")
    put(user, "db", "v")
    name = user.register("test/sh:1", secrets=["db"])
    user.put("/registry/update", {"name": name, "secrets": ["db", "nope"]}).problem(422, "unprocessable")
    assert name in user.delete("/v1/secrets/db").problem(409, "conflict")["detail"]
    assert user.put("/registry/update", {"name": name, "secrets": []}).status == 200
    assert user.delete("/v1/secrets/db").status == 204
    assert run(user, name, "b ls /run/secrets 2>/dev/null; echo none") == b"none\n"


def test_an_image_that_hides_the_place_is_told(native, user, tmp_path):
    (tmp_path / "image/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", tmp_path / "image/bin/busybox")
    (tmp_path / "image/run").symlink_to("/tmp")
    pack(native, tmp_path / "image", "test/link:1")
    put(user, "db", "v")
    name = user.register("test/link:1", secrets=["db"])
    assert "/run/secrets" in user.call(name, "echo").problem(503, "unavailable")["detail"]


def places_with(word, native):
    """Where on this machine, as files of the platform or as what every user may see of a process, these bytes are."""
    found = []
    for root in (native.plat.data, f"{native.plat.data}-run"):
        for path in pathlib.Path(root).rglob("*"):
            if path.is_file() and word in path.read_bytes():
                found.append(str(path))
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("environ", "cmdline"):
            try:
                if word in pathlib.Path("/proc", pid, name).read_bytes():
                    found.append(f"/proc/{pid}/{name}")
            except OSError:
                continue
    return found


def test_its_bytes_are_in_no_file_log_argument_or_environment(native, user):
    value = unique("SECRETBYTES").encode()
    put(user, "db", value)
    name = user.register("test/sh:1", secrets=["db"])
    fresh = user.register("test/sh:1", secrets=["db"])
    slot = user.register("test/sh:1", secrets=["db"], reuse="slot")
    for each in (name, fresh, slot):
        assert run(user, each, "b cat /run/secrets/db") == value
    assert run(user, slot, "b env; b cat /proc/self/cmdline").find(value) < 0
    user.call(name, "exit 3").problem(502, "function_failed")
    user.post("/v1/secrets", {"name": "x/y", "value": value.decode()}).problem(400, "invalid_request")
    user.post("/v1/secrets", '{"name":"x","value":"' + value.decode()).problem(400, "invalid_request")
    for coded in (value, base64.b64encode(value).rstrip(b"="), value.hex().encode()):
        assert places_with(coded, native) == []
    # The search can find: the name is in a function's record.
    assert places_with(user.id.encode(), native) != []


def restart(native, service):
    """Its process is killed; the platform starts another."""
    (pid,) = native.plat.pids(service)
    start = stat_of(pid)[2]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: [p for p in native.plat.pids(service) if p and (stat_of(p) or (0, 0, start))[2] != start], 20, f"another {service}")
    native.plat.wait_healthy()


def test_they_outlive_a_spawner_and_a_registry(native, user):
    put(user, "db", "one")
    name = user.register("test/sh:1", secrets=["db"])
    assert run(user, name, "b cat /run/secrets/db") == b"one"
    restart(native, "spawner")
    assert run(user, name, "b cat /run/secrets/db") == b"one"
    restart(native, "registry")
    assert run(user, name, "b cat /run/secrets/db") == b"one"
    wait_until(lambda: user.get("/v1/secrets").status == 200, 20, "the list is read again")
    put(user, "db", "two", 200)
    assert run(user, name, "b cat /run/secrets/db") == b"two"


def test_without_a_registry_what_is_kept_serves_and_the_rest_is_told(native, user):
    put(user, "kept", "one")
    put(user, "cold", "two")
    warm = user.register("test/sh:1", secrets=["kept"])
    cold = user.register("test/sh:1", secrets=["cold"], start_timeout_ms=1500)
    assert run(user, warm, "b cat /run/secrets/kept") == b"one"
    (pid,) = native.plat.pids("registry")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert run(user, warm, "b cat /run/secrets/kept") == b"one"
        problem = user.call(cold, "echo ran").problem(503, "unavailable")
        assert "secret cold" in problem["detail"] and "nothing was run" in problem["detail"], problem
    finally:
        os.kill(pid, signal.SIGCONT)
    native.plat.wait_healthy()
    assert wait_until(lambda: user.call(cold, "/bin/busybox cat /run/secrets/cold").body == b"two", 20, "the registry answers again")


def test_the_number_of_secrets_is_bounded(user):
    for i in range(100):
        put(user, f"s{i}", "v", 201)
    answer = user.put("/v1/secrets/one-more", {"value": "v"})
    assert "100" in answer.problem(429, "busy")["detail"] and answer.headers["Retry-After"]
    put(user, "s7", "w", 200)
    assert user.delete("/v1/secrets/s8").status == 204
    put(user, "one-more", "v", 201)


def test_the_command_sets_lists_and_removes(native, tmp_path):
    plat, name = native.plat, unique()
    env = {"XDG_CONFIG_HOME": str(tmp_path)}

    def faas(*args, **more):
        return subprocess.run([plat.faas, *args], env={**plat.env, **env, "FAAS_URL": plat.url}, text=True, capture_output=True, timeout=60, **more)

    password = unique("password")
    for verb in ("register", "login"):
        assert faas(verb, name, "--password-stdin", input=password).returncode == 0
    (tmp_path / "value").write_bytes(b"from a file")
    assert faas("secret", "set", "db", input="typed\n").stdout == "set db, 6 bytes\n"
    assert faas("secret", "set", "db", "--from-file", str(tmp_path / "value")).stdout == "replaced db, 11 bytes\n"
    listed = faas("secret", "list", "--json")
    assert [(i["name"], i["size"]) for i in json.loads(listed.stdout)] == [("db", 11)], listed.stdout
    assert faas("deploy", "f", "--image", "test/sh:1", "--secret", "db").returncode == 0
    assert faas("invoke", "f", "/bin/busybox cat /run/secrets/db").stdout == "from a file"
    refused = faas("secret", "remove", "db")
    assert refused.returncode == 2 and "f;" in refused.stderr, refused.stderr
    assert faas("remove", "f").returncode == 0 and faas("secret", "remove", "db").stdout == "removed db\n"
    assert faas("secret", "set", "db", "value").returncode == 2  # never an argument
    (tmp_path / "value").write_bytes(b"x" * 65537)
    large = faas("secret", "set", "db", "--from-file", str(tmp_path / "value"))
    assert large.returncode == 2 and "65536" in large.stderr


def test_the_commands_of_the_page_do_what_it_says(native, tmp_path):
    page = (conftest.ROOT / "docs/SECRETS.md").read_text()
    (script,) = re.findall(r"```sh\n(.*?)```", page, re.S)
    name, password, value = unique(), unique("password"), unique("value")
    env = {**native.plat.env, "XDG_CONFIG_HOME": str(tmp_path), "FAAS_URL": native.plat.url, "PASSWORD": value,
           "PATH": f"{conftest.BIN}:{os.environ['PATH']}"}
    for verb in ("register", "login"):
        done = subprocess.run([native.plat.faas, verb, name, "--password-stdin"], env=env, input=password, text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=env, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert value in done.stdout and "db-password" in done.stdout.split(value)[1] and value not in done.stdout.split(value, 1)[1], done.stdout


def test_a_backup_has_them_and_a_restored_platform_gives_them(native, user, tmp_path):
    value = unique("BACKEDUP")
    put(user, "db", value)
    name = user.register("test/sh:1", secrets=["db"])
    made = native.plat.run("backup", str(tmp_path / "file"), "--data", native.plat.data, "--json")
    assert made.returncode == 0 and json.loads(made.stdout)["secrets"] >= 1, (made.stdout, made.stderr)
    assert value.encode() not in (tmp_path / "file").read_bytes()
    assert native.plat.run("restore", str(tmp_path / "file"), "--data", str(tmp_path / "data")).returncode == 0
    assert (tmp_path / "data/keys/secrets.key").stat().st_mode & 0o777 == 0o600
    other = Platform(conftest.BIN, str(tmp_path / "data"), free_port(), {}, "unix:///nowhere", {"SPAWNER_RUNTIME": "native"})
    other.up()
    try:
        there = Client(other.url, user.token, user.username, user.id)
        assert [i["name"] for i in there.get("/v1/secrets").json["items"]] == ["db"]
        assert run(there, name, "b cat /run/secrets/db") == value.encode()
    finally:
        other.down()
    other.check_logs()
