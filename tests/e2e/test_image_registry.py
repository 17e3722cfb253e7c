"""`faas up --registry`: a registry of images beside the platform, that `faas image push` fills and all its spawners pull from."""
import base64
import concurrent.futures
import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import urllib.error
import urllib.request

import pytest

import conftest
from image_files import digest, entry, saved, tar
from support import Client, Platform, free_port, wait_until
from test_image import EXAMPLES, is_root
from test_native_images import NOWHERE, Native

pytestmark = pytest.mark.skipif(not is_root, reason="sandboxes need root")


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """A platform with its registry and one spawner; what it printed is in native.said."""
    folder = tmp_path_factory.mktemp("registry")
    with Native(folder, options=("--registry",), SPAWNER_SLOTS="1") as found:
        found.address = re.search(r"^registry (127\.0\.0\.1:\d+)$", found.said, re.M).group(1)
        found.login = pathlib.Path(found.plat.data, "keys/registry-login.json")
        yield found


def image(native, *args):
    """`faas image ARGS` on the platform's own store."""
    return native.plat.run("image", *map(str, args), "--data", native.plat.data)


def pushed(native, example, name):
    for step in (("import", EXAMPLES / f"{example}.tar", "--tag", name), ("push", name)):
        done = image(native, *step)
        assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.split()


def registry_process(native):
    (process,) = [p for p in native.plat.status()["processes"] if p["service"] == "image-registry"]
    return process


def ask(url, login=None):
    request = urllib.request.Request(url, headers={"Authorization": "Basic " + login} if login else {})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def password(native):
    return json.loads(native.login.read_text())["auths"][native.address]["auth"]


def test_two_spawners_without_a_shared_disk_run_what_was_pushed(native):
    made = pushed(native, "echo", "faas-examples/echo")
    assert made[1] == f"{native.address}/faas-examples/echo:latest"
    created = native.user.post("/registry/register", {"name": "f", "payload": made[1], "max_wait_ms": 20000, "start_timeout_ms": 20000})
    assert created.status == 201 and created.json["digest"]["value"] == made[0], created.text
    native.add_spawner("second", REGISTRY_AUTH_FILE=str(native.login))

    def both_ran():
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda i: native.user.call("f", f"-n {i}"), range(12)))
        assert [(a.status, a.body) for a in answers] == [(200, f"-n {i}".encode()) for i in range(12)], [a.text for a in answers]
        return {a.headers["X-Served-By"] for a in answers} >= {"second", "spawner1"}
    wait_until(both_ran, 60, "both spawners run the function")
    assert native.images(native.folder / "second") == [made[0].removeprefix("sha256:") + ".json"]


def test_a_pushed_name_may_move_and_what_was_registered_stays(native):
    first = pushed(native, "upper", "moving:1")
    created = native.user.post("/registry/register", {"name": "moving", "payload": first[1]})
    assert created.status == 201, created.text
    second = pushed(native, "echo", "moving:1")
    assert second[1] == first[1] and second[0] != first[0]
    assert native.user.call("moving", "ab").body == b"AB"
    assert native.user.post("/v1/functions/moving/refresh").status == 200
    assert native.user.call("moving", "ab").body == b"ab"


def test_it_takes_its_login_alone_and_keeps_it_to_itself(native):
    url = f"http://{native.address}/v2/"
    assert ask(url) == 401 and ask(url, base64.b64encode(b"faas:guess").decode()) == 401 and ask(url, password(native)) == 200
    assert stat.S_IMODE(native.login.stat().st_mode) == 0o600
    folder = pathlib.Path(native.plat.data, "registry")
    assert all(p.lstat().st_mode & 0o077 == 0 for p in [folder, *folder.rglob("*")])
    secret = base64.b64decode(password(native)).decode().split(":")[1]
    pid = registry_process(native)["pid"]
    seen = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() + pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    assert secret.encode() not in seen and b"NKEY" not in seen and secret not in "".join(native.plat.logs().values())
    with socket.socket() as outside:  # on loopback alone
        address = subprocess.run(["hostname", "-I"], text=True, capture_output=True).stdout.split()
        if address:
            assert outside.connect_ex((address[0], int(native.address.split(":")[1]))) != 0


def test_it_is_started_again_when_it_dies(native):
    made = pushed(native, "report", "again:1")
    before = registry_process(native)
    assert before["state"] == "running" and before["health"] == "ok" and before["url"] == f"http://{native.address}"
    os.kill(before["pid"], signal.SIGKILL)

    def is_back():
        now = registry_process(native)
        return now["pid"] not in (None, before["pid"]) and now.get("health") == "ok"
    wait_until(is_back, 20, "the registry is back")
    native.add_spawner("third", REGISTRY_AUTH_FILE=str(native.login))
    assert image(native, "remove", "again:1", made[1]).returncode == 0
    created = native.user.post("/registry/register", {"name": "again", "payload": made[1]})
    assert created.status == 201 and created.json["digest"]["value"] == made[0], created.text


def test_names_are_kept_and_what_has_none_is_asked_for(native, tmp_path):
    layer = tar(entry("a", b"1"))
    for name, expected in (("127.0.0.1:1/other/path:2", "other/path:2"), ("plain", "plain:latest")):
        assert image(native, "import", saved(tmp_path / "image.tar", layer), "--tag", name).returncode == 0
        done = image(native, "push", name)
        assert done.stdout.split()[1] == f"{native.address}/{expected}", (done.stdout, done.stderr)
    assert image(native, "push", "plain", f"{native.address}/named:3").stdout.split()[1] == f"{native.address}/named:3"
    refused = image(native, "push", digest(layer))
    assert refused.returncode == 2 and "REFERENCE" in refused.stderr, refused.stderr


# ---- its life ----

def test_down_ends_it_and_the_next_up_has_its_images_and_its_address(tmp_path):
    data = tmp_path / "data"
    plat = Platform(conftest.BIN, str(data), free_port(), {}, NOWHERE, {"SPAWNER_RUNTIME": "native"})
    first = re.search(r"^registry (\S+)$", plat.up("--registry"), re.M).group(1)
    (pid,) = plat.pids("image-registry")
    for step in (("import", EXAMPLES / "echo.tar", "--tag", "kept"), ("push", "kept")):
        done = plat.run("image", *map(str, step), "--data", plat.data)
        assert done.returncode == 0, done.stderr
    made = done.stdout.split()
    assert plat.down() == [] and not pathlib.Path(f"/proc/{pid}").exists()
    refused = plat.run("image", "push", "kept", "--data", plat.data)
    assert refused.returncode == 4 and "faas up --registry" in refused.stderr, refused.stderr
    port = int(first.split(":")[1])
    with socket.socket() as other:  # the address is in the images' names: another one is not taken silently
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        done = subprocess.run([plat.faas, "up", "--data", plat.data, "--listen", plat.listen, "--registry", "--detach"], env=plat.env, text=True,
                              capture_output=True, timeout=60)
        assert done.returncode == 5 and f"port {port} of the image registry" in done.stderr, (done.stdout, done.stderr)
    assert f"registry {first}\n" in plat.up("--registry")
    try:
        assert plat.run("image", "remove", made[0], "--data", plat.data).returncode == 0
        user = Client.new(plat.url)
        created = user.post("/registry/register", {"name": "f", "payload": made[1]})
        assert created.status == 201 and created.json["digest"]["value"] == made[0], created.text
        assert user.call("f", "kept").body == b"kept"
        assert "image-registry-1" in plat.run("status", "--data", plat.data).stdout
    finally:
        assert plat.down() == []
    plat.check_logs()


def test_without_the_program_it_is_said_what_to_install(tmp_path):
    (tmp_path / "bin").mkdir()
    plat = Platform(conftest.BIN, str(tmp_path / "data"), free_port(), {}, NOWHERE, {"SPAWNER_RUNTIME": "native", "PATH": str(tmp_path / "bin")})
    done = subprocess.run([plat.faas, "up", "--data", plat.data, "--listen", plat.listen, "--registry"], env=plat.env, text=True, capture_output=True, timeout=60)
    assert done.returncode == 5 and "apt-get install docker-registry" in done.stderr, (done.stdout, done.stderr)
