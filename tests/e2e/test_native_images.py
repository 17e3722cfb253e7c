"""How sandboxes get their images: no operator brings them, and a spawner that lacks one fetches it."""
import base64
import concurrent.futures
import json
import os
import pathlib
import socket
import subprocess

import pytest

import conftest
from support import Client, Platform, free_port, wait_until
from test_image import is_root

pytestmark = pytest.mark.skipif(not is_root, reason="sandboxes need root")
NOWHERE = "unix:///nowhere/docker.sock"
PASSWORD = "s3cret-pass"


@pytest.fixture(scope="module")
def registry(engine, tmp_path_factory):
    """A docker-registry on our loopback, with a login: put(name, example) fills it."""
    work = tmp_path_factory.mktemp("registry")
    address = f"127.0.0.1:{free_port()}"
    (work / "htpasswd").write_text(conftest.run("htpasswd", "-Bbn", "puller", PASSWORD) + "\n")
    (work / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {work}/data}}}}\nhttp: {{addr: \"{address}\"}}\n"
        f"auth: {{htpasswd: {{realm: faas, path: {work}/htpasswd}}}}\n")
    (work / "auth.json").write_text(json.dumps({"auths": {address: {"auth": base64.b64encode(f"puller:{PASSWORD}".encode()).decode()}}}))
    (work / "auth.json").chmod(0o600)
    server = subprocess.Popen(["docker-registry", "serve", work / "config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    class Registry:
        auth = str(work / "auth.json")

        def put(self, name, example):
            def pushed():
                return subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", "--dest-creds", f"puller:{PASSWORD}",
                                       f"docker-archive:{conftest.ROOT}/build/examples/{example}.tar", f"docker://{address}/{name}"],
                                      capture_output=True).returncode == 0
            wait_until(pushed, 20, "the registry takes an image")
            return f"{address}/{name}"
    yield Registry()
    server.terminate()
    server.wait(20)


class Native:
    """A platform of sandboxes without an engine, and spawners beside it that share no disk with its own."""

    def __init__(self, folder, engine=NOWHERE, options=(), **env):
        self.folder, self.extra, self.options = folder, [], options
        self.run_dir = str(folder / "run")
        self.plat = Platform(conftest.BIN, str(folder / "data"), free_port(), {}, engine, {"SPAWNER_RUNTIME": "native", "SPAWNER_RUN_DIR": self.run_dir, **env})
        (folder / "data").mkdir()

    def __enter__(self):
        self.said = self.plat.up(*self.options)
        self.user = Client.new(self.plat.url)
        return self

    def add_spawner(self, name, **more):
        data = pathlib.Path(self.plat.data)
        ports = json.loads((data / "ports.json").read_text())["ports"]
        (self.folder / name).mkdir()
        env = {**self.plat.env, "NATS_URL": f"nats://127.0.0.1:{ports['nats-1']}", "INSTANCE_ID": name, "DATA_DIR": str(self.folder / name),
               "SPAWNER_IMAGES": str(self.folder / name / "images"), "NATS_NKEY_FILE": str(data / "keys/nats-spawner.seed"), **more}
        log = open(self.folder / f"{name}.log", "w")
        self.extra.append(subprocess.Popen([conftest.BIN / "faas-spawner"], env=env, stdout=log, stderr=log))

    def images(self, folder):
        return sorted(p.name for p in pathlib.Path(folder, "images/images").glob("*.json"))

    def __exit__(self, *_):
        for spawner in self.extra:
            spawner.terminate()
        assert [spawner.wait(40) for spawner in self.extra] == [0] * len(self.extra)
        assert self.plat.down() == []
        self.plat.check_logs()
        assert PASSWORD not in "".join(p.read_text() for p in self.folder.glob("*.log"))


def test_two_spawners_without_a_shared_disk_run_what_was_registered(registry, tmp_path):
    image = registry.put("faas/moving:1", "echo")
    with Native(tmp_path, REGISTRY_AUTH_FILE=registry.auth, SPAWNER_SLOTS="1") as native:
        made = native.user.post("/registry/register", {"name": "f", "payload": image, "max_wait_ms": 20000, "start_timeout_ms": 20000})
        assert made.status == 201 and made.json["digest"]["kind"] == "store" and made.json["isolation"] == "sandbox", made.text
        registry.put("faas/moving:1", "report")  # the tag moves: what was registered is what runs
        native.add_spawner("second")

        def both_ran():
            with concurrent.futures.ThreadPoolExecutor(6) as pool:
                answers = list(pool.map(lambda i: native.user.call("f", f"-n {i}"), range(12)))
            assert [(a.status, a.body) for a in answers] == [(200, f"-n {i}".encode()) for i in range(12)], [a.text for a in answers]
            return len(native.images(tmp_path / "second")) == 1 and any(a.headers["X-Served-By"] == "second" for a in answers)
        wait_until(both_ran, 60, "the second spawner runs the function, too")
        assert native.images(tmp_path / "second") == native.images(tmp_path / "data")


def test_a_registration_brings_its_image_once(registry, tmp_path):
    image = registry.put("faas/once:1", "echo")
    with Native(tmp_path, REGISTRY_AUTH_FILE=registry.auth) as native:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda i: native.user.post("/registry/register", {"name": f"f{i}", "payload": image}), range(4)))
        assert [m.status for m in made] == [201] * 4, [m.text for m in made]
        assert len(native.images(native.plat.data)) == 1 and native.user.call("f3", "x").body == b"x"


def test_why_an_image_cannot_be_had_comes_back(registry, tmp_path):
    image = registry.put("faas/locked:1", "echo")
    with Native(tmp_path) as native:
        def refused(payload):
            return native.user.post("/registry/register", {"name": "f", "payload": payload}).problem(422, "unprocessable")["detail"]
        assert "authentication required" in refused(image) or "unauthorized" in refused(image)
        assert "ALLOWED_REGISTRIES" in refused("registry.example/faas/echo:1") and "faas image import" in refused("never/made:1")
        assert native.user.get("/registry/list").json == [] and native.images(native.plat.data) == []


def test_a_name_follows_the_engine_and_what_an_operator_brought_stays(engine, tmp_path):
    def docker(*args):
        subprocess.run(["docker", *args], env={**os.environ, "DOCKER_HOST": engine}, check=True, capture_output=True)
    docker("tag", "faas-examples/echo:latest", "faas-tests/rebuilt:latest")
    try:
        with Native(tmp_path, engine) as native:
            name = native.user.register("faas-tests/rebuilt:latest")
            docker("tag", "faas-examples/report:latest", "faas-tests/rebuilt:latest")
            assert native.user.call(name, "-n x").body == b"-n x"
            assert native.user.post(f"/v1/functions/{name}/refresh").status == 200
            assert "== network interfaces" in native.user.call(name, "x").text
            done = native.plat.run("image", "import", str(conftest.ROOT / "build/examples/echo.tar"), "--tag", "faas-tests/rebuilt:latest", "--data",
                                   native.plat.data)
            assert done.returncode == 0, done.stderr
            assert native.user.post(f"/v1/functions/{name}/refresh").status == 200
            assert native.user.call(name, "-n x").body == b"-n x"
    finally:
        docker("image", "rm", "faas-tests/rebuilt:latest")


def test_a_spawner_stops_in_the_middle_of_a_pull(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent, Native(tmp_path) as native, concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(native.user.post, "/registry/register", {"name": "f", "payload": f"127.0.0.1:{silent.getsockname()[1]}/a:1"})
        silent.settimeout(20)
        connection, _ = silent.accept()  # skopeo asks, and gets no answer
        spawner = native.plat.pids("spawner")[0]
        os.kill(spawner, 15)
        wait_until(lambda: native.plat.pids("spawner") not in ([spawner], []), 20, "the spawner ended and came back")
        connection.close()
        silent.close()
        assert waiting.result().status in (422, 503)


def test_isolation_is_chosen_and_told(engine, tmp_path):
    with Native(tmp_path, engine) as native:
        user = native.user
        made = user.post("/v1/functions", {"name": "f", "payload": "faas-examples/echo:latest", "isolation": "sandbox"})
        assert made.status == 201 and made.json["isolation"] == "sandbox", made.text
        docker = {"name": "d", "payload": "faas-examples/echo:latest", "isolation": "docker"}
        assert 'no spawner here offers "docker"' in user.post("/v1/functions", docker).problem(422, "unprocessable")["detail"]
        assert 'no spawner here offers "docker"' in user.request("PATCH", "/v1/functions/f", {"isolation": "docker"}).problem(422, "unprocessable")["detail"]
        native.add_spawner("containers", SPAWNER_RUNTIME="docker")
        made = wait_until(lambda: (lambda r: r.status == 201 and r)(user.post("/v1/functions", docker)), 20, "a spawner of containers is there")
        assert made.json["isolation"] == "docker" and made.json["digest"]["kind"] == "docker-id", made.text
        assert {name: user.call(name, "-n x").headers["X-Served-By"] for name in "fd"} == {"f": "spawner1", "d": "containers"}
        for isolation, kind, spawner in (("docker", "docker-id", "containers"), ("sandbox", "store", "spawner1")):
            moved = user.request("PATCH", "/v1/functions/f", {"isolation": isolation})
            assert (moved.json["isolation"], moved.json["digest"]["kind"]) == (isolation, kind), moved.text
            assert user.get("/v1/functions/f").json == moved.json and user.call("f", "x").headers["X-Served-By"] == spawner
        assert user.post("/v1/functions/f/refresh").json["isolation"] == "sandbox"
        assert user.request("PATCH", "/v1/functions/f", {"isolation": None, "description": "d"}).json["isolation"] == "sandbox"


def test_a_call_says_whether_its_sandbox_was_waiting(engine, tmp_path):
    with Native(tmp_path, engine) as native:
        name = native.user.register("faas-examples/echo:latest")
        first = native.user.call(name, "x")
        assert first.status == 200 and first.headers["X-Start"] == "cold"
        wait_until(lambda: native.user.call(name, "x").headers["X-Start"] == "prewarmed", 20, "a sandbox waits for its call")


def test_a_users_login_serves_that_user_alone(registry, tmp_path):
    image = registry.put("faas/private:1", "echo")
    host = image.split("/")[0]
    pinned = f"{host}/faas/private@" + conftest.run("skopeo", "inspect", "--no-tags", "--format={{.Digest}}", "--tls-verify=false", "--creds",
                                                    f"puller:{PASSWORD}", f"docker://{image}").strip()
    with Native(tmp_path, SPAWNER_SLOTS="1") as native:
        alice, bob = native.user, Client.new(native.plat.url)

        def register(who, payload, status):
            made = who.post("/registry/register", {"name": f"f{os.urandom(4).hex()}", "payload": payload, "max_wait_ms": 20000, "start_timeout_ms": 20000})
            assert made.status == status and PASSWORD not in made.text, made.text
            return made.json

        def keep(who, password, status):
            kept = who.request("PUT", f"/v1/registries/{host}", {"username": "puller", "password": password})
            assert kept.status == status and kept.json["registry"] == host and password not in kept.text, kept.text
        register(alice, image, 422)
        keep(alice, PASSWORD, 201)
        assert [r["registry"] for r in alice.get("/v1/registries").json["items"]] == [host] and alice.get("/v1/secrets").json["items"] == []
        assert bob.get("/v1/registries").json["items"] == []
        made = register(alice, image, 201)
        assert alice.call(made["name"], "x").body == b"x"
        # To know a name or a digest of what is on the disk is no access.
        for payload in (image, pinned, made["digest"]["value"], f"private {pinned}"):
            refused = bob.post("/registry/register", {"name": "g", "payload": payload})
            assert refused.status in (400, 422), (payload, refused.text)
        keep(bob, "wrong", 201)
        register(bob, image, 422)
        register(bob, pinned, 422)
        keep(bob, PASSWORD, 200)
        register(bob, pinned, 201)
        assert len(native.images(native.plat.data)) == 1
        native.add_spawner("second")  # has nothing: it pulls with the login of whose call it is

        def both_ran():
            with concurrent.futures.ThreadPoolExecutor(6) as pool:
                answers = list(pool.map(lambda i: alice.call(made["name"], f"{i}"), range(12)))
            assert [a.status for a in answers] == [200] * 12, [a.text for a in answers]
            return any(a.headers["X-Served-By"] == "second" for a in answers)
        wait_until(both_ran, 60, "the second spawner runs the function, too")
        assert bob.delete(f"/v1/registries/{host}").status == 204 and bob.delete(f"/v1/registries/{host}").status == 404
        register(bob, image, 422)
        register(alice, image, 201)
        for wrong in ({"username": "a:b", "password": "x"}, {"username": "a", "password": "x\n"}, {"username": "a"}):
            assert alice.request("PUT", f"/v1/registries/{host}", wrong).status == 400
        assert alice.request("PUT", "/v1/registries/faas", {"username": "a", "password": "x"}).problem(400, "invalid_request")["detail"].startswith("registry:")


def test_a_mirror_is_asked_first_and_never_decides_names(registry, tmp_path):
    image = registry.put("faas/mirrored:1", "echo")
    host = image.split("/")[0]
    env = {"REGISTRY_AUTH_FILE": registry.auth, "ALLOWED_REGISTRIES": "registry.invalid", "REGISTRY_MIRRORS": f"registry.invalid={host}",
           "IMAGE_PULL": "always"}
    with Native(tmp_path, **env) as native:
        name = native.user.register("registry.invalid/faas/mirrored:1")
        assert native.user.call(name, "-n x").body == b"-n x"
        registry.put("faas/mirrored:1", "report")  # always: the tag is followed when somebody asks what it means
        assert native.user.post(f"/v1/functions/{name}/refresh").status == 200
        assert "== network interfaces" in native.user.call(name, "x").text
        # What the mirror lacks is asked of the registry itself, whose answer is told.
        lacking = native.user.post("/registry/register", {"name": "f", "payload": "registry.invalid/faas/none:1"}).problem(422, "unprocessable")
        assert "registry.invalid" in lacking["detail"], lacking


def test_a_deployment_may_pull_nothing(registry, tmp_path):
    image = registry.put("faas/never:1", "echo")
    with Native(tmp_path, REGISTRY_AUTH_FILE=registry.auth, IMAGE_PULL="never") as native:
        refused = native.user.post("/registry/register", {"name": "f", "payload": image}).problem(422, "unprocessable")
        assert "IMAGE_PULL is never" in refused["detail"]
