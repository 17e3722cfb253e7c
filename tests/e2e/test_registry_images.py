"""Images that an engine pulls from a registry with a login: once, pinned by manifest, refused with its own words; sandboxes: test_native_images.py."""
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess

import pytest

import conftest
from support import Client, Platform, free_port, wait_until


@pytest.fixture(scope="module")
def registry(engine, tmp_path_factory):
    """(address, docker configuration folder with a login) of a docker-registry where the engine's loopback is, holding faas/echo:1."""
    work = tmp_path_factory.mktemp("registry")
    folder = pathlib.Path(engine.removeprefix("unix://")).parent
    inside = [str(conftest.ROOT / "scripts/engine"), "exec", str(folder)]
    if subprocess.run([*inside, "true"], capture_output=True).returncode != 0:
        inside = []  # an engine of the machine's own: its loopback is ours
    address = f"127.0.0.1:{free_port()}"
    (work / "htpasswd").write_text(conftest.run("htpasswd", "-Bbn", "puller", "s3cret-pass") + "\n")
    (work / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {work}/data}}}}\nhttp: {{addr: \"{address}\"}}\n"
        f"auth: {{htpasswd: {{realm: faas, path: {work}/htpasswd}}}}\n")
    server = subprocess.Popen([*inside, "docker-registry", "serve", str(work / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              start_new_session=True)
    env = {**os.environ, "DOCKER_HOST": engine, "DOCKER_CONFIG": str(work / "docker")}

    def login():
        return subprocess.run(["docker", "login", "-u", "puller", "--password-stdin", address], env=env, input="s3cret-pass", text=True,
                              capture_output=True).returncode == 0
    wait_until(login, 20, "the registry takes a login")
    for args in (("tag", "faas-examples/echo:latest", f"{address}/faas/echo:1"), ("push", "-q", f"{address}/faas/echo:1"), ("rmi", f"{address}/faas/echo:1")):
        subprocess.run(["docker", *args], env=env, check=True, capture_output=True)
    yield address, work / "docker"
    os.killpg(server.pid, signal.SIGTERM)
    server.wait(20)


def test_an_image_is_pulled_with_the_operators_login(engine, registry, tmp_path):
    address, config = registry
    plat = Platform(conftest.BIN, str(tmp_path), free_port(), {"spawner": 2}, engine, env={"REGISTRY_AUTH_FILE": str(config / "config.json"), "SPAWNER_RUNTIME": "docker"})
    plat.up()
    try:
        user = Client.new(plat.url)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda i: user.post("/registry/register", {"name": f"pulled{i}", "payload": f"{address}/faas/echo:1"}), range(4)))
        assert [m.status for m in made] == [201] * 4, [m.text for m in made]
        digests = [m.json["digest"] for m in made]
        assert digests == [digests[0]] * 4 and digests[0]["kind"] == "manifest" and digests[0]["value"].startswith("sha256:"), digests
        assert user.call("pulled0", "from the registry").body == b"from the registry"
        unknown = user.post("/registry/register", {"name": "none", "payload": f"{address}/faas/echo:2"}).problem(422, "unprocessable")
        assert "manifest" in unknown["detail"] or "not found" in unknown["detail"], unknown
        logs = json.dumps(plat.logs())
        assert "s3cret-pass" not in logs
    finally:
        assert plat.down() == []


def test_a_moved_tag_changes_nothing_until_it_is_refreshed(platform, other, promise):
    def tag(image):
        subprocess.run(["docker", "tag", image, "faas-tests/moving:latest"], env=platform.env, check=True)
    tag("faas-examples/echo:latest")
    name = other.register("faas-tests/moving:latest")
    try:
        tag("faas-tests/show:latest")
        assert [other.call(name, "-n x").body for _ in range(4)] == [b"-n x"] * 4
        assert other.post(f"/v1/functions/{name}/refresh").status == 200
        assert other.call(name, "x").body == b"x"
    finally:
        subprocess.run(["docker", "image", "rm", "faas-tests/moving:latest"], env=platform.env, capture_output=True, check=True)
    promise(14, "0 of 4 calls ran another digest than the registered one after its tag moved")


def test_without_a_login_the_engines_words_come_back(engine, registry, tmp_path):
    address, _ = registry
    plat = Platform(conftest.BIN, str(tmp_path), free_port(), {}, engine, {"SPAWNER_RUNTIME": "docker"})
    plat.up()
    try:
        subprocess.run(["docker", "image", "rm", "-f", f"{address}/faas/echo:1"], env=plat.env, capture_output=True)
        user = Client.new(plat.url)
        refused = user.post("/registry/register", {"name": "f", "payload": f"{address}/faas/echo:1"}).problem(422, "unprocessable")
        assert "auth" in refused["detail"] or "credentials" in refused["detail"], refused
        elsewhere = user.post("/registry/register", {"name": "f", "payload": "registry.example/faas/echo:1"}).problem(422, "unprocessable")
        assert "ALLOWED_REGISTRIES" in elsewhere["detail"], elsewhere
        assert user.get("/registry/list").json == []
    finally:
        assert plat.down() == []


def test_another_users_label_does_not_meet_a_call(platform, client, other, functions):
    mine = client.call("echo", "mine")
    name = other.register("faas-examples/echo:latest")
    theirs = other.call(name, "theirs", headers={"X-Call-Id": mine.headers["X-Call-Id"]})
    assert theirs.body == b"theirs" and theirs.headers["X-Call-Id"] != mine.headers["X-Call-Id"]


def interfaces(answer):
    return answer.text.split("== network interfaces")[1]


def test_outbound_is_another_network_than_none(platform, other):
    none, outbound = (other.call(other.register("faas-examples/report:latest", network=name), "x") for name in ("none", "outbound"))
    assert "eth0" not in interfaces(none)
    if platform.is_native and pathlib.Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n":  # the operator's decision, and told as such
        assert "net.ipv4.ip_forward" in outbound.problem(502, "start_failed")["detail"]
    elif platform.is_native:  # what there is to see of it is test_sandbox_outbound.c's to say
        assert outbound.status == 200, outbound.text
    else:
        assert "eth0" in interfaces(outbound)
