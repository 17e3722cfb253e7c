"""Release v0.1.0 in containers and this version in its place, under load, and back: nothing acknowledged is lost, and the data stays.

The release had no images: these are made of its programs (scripts/check-upgrade builds them), as its users would have made them. It has no
--healthcheck either, so a Swarm is given none; Compose shows its containers as unhealthy, and lets them run."""
import os
import re
import shutil

import pytest

from conftest import IS_FULL, ROOT, URL, containers, docker, figure, run
from load import Load
from support import Client, wait_until
from test_operations import SECTIONS
from test_swarm import OFTEN, await_replicas

OLD = ROOT / "build/release-v0.1.0/build/release/bin"
OLD_TAG = "0.1.0"
SERVICES = ("auth", "registry", "publisher", "spawner", "gateway")
pytestmark = pytest.mark.skipif(not IS_FULL, reason="make test-deploy")
# Fewer of each, so that an update of all takes less than a minute.
FEWER = """version: "3.8"
services:
""" + "".join(f"  {name}-service: {{deploy: {{replicas: 2, update_config: {{monitor: 1s, delay: 0s}}, rollback_config: {{monitor: 1s}}}}}}\n" for name in SERVICES[:4])


def versions():
    """Images that the running containers of the services have, by their tags."""
    used = docker("ps", "--format", "{{.Names}} {{.Image}}").splitlines()
    return {line.split(":")[-1] for line in used if line.startswith("faas") and "nats" not in line}


def is_well():
    try:
        return Client(URL).get("/healthz").status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def both(tree):
    """A folder to deploy from, with keys, settings, images of the release and of this version, and no data."""
    if not (OLD / "faas-gateway").exists():
        run(ROOT / "scripts/check-upgrade", "--programs")
    mixed = tree.path / "old"
    shutil.copytree(os.environ["FAAS_BIN"], mixed)
    for program in OLD.iterdir():
        shutil.copy(program, mixed)
    run(ROOT / "scripts/images", "--programs", mixed, "--tag", OLD_TAG, *SERVICES)
    (tree.path / "fewer.yml").write_text(FEWER)
    tree.start()
    tree.settings = dict(line.split("=", 1) for line in (tree.path / ".env").read_text().splitlines() if "=" in line)
    run("docker", "compose", "down", "-v", cwd=tree.path)
    return tree


class Compose:
    """The way back as docs/OPERATIONS.md prints it; the way up is its scripts/run, with the images that are there."""

    def __init__(self, tree):
        self.tree, self.settings = tree, {"COMPOSE_FILE": tree.settings["COMPOSE_FILE"] + ":fewer.yml", **OFTEN}

    def deploy(self, is_old):
        if is_old:
            run("bash", "-euc", SECTIONS["Upgrade"][1], cwd=self.tree.path, env={**os.environ, **self.settings})
        else:
            self.tree.start(**self.settings)

    def remove(self):
        run("docker", "compose", "down", cwd=self.tree.path)


class Swarm:
    def __init__(self, tree):
        self.tree = tree
        text = (tree.path / "docker-compose.yml").read_text()
        (tree.path / "unchecked.yml").write_text(re.sub(r"healthcheck: \{<<: \*health.*", "healthcheck: {disable: true}", text))
        self.settings = {name: value for name, value in tree.settings.items() if not name.startswith(("SPAWNER_", "COMPOSE_"))}
        docker("swarm", "init", "--advertise-addr", "127.0.0.1")

    def deploy(self, is_old):
        settings = {**self.settings, **OFTEN, **({"FAAS_VERSION": OLD_TAG} if is_old else {})}
        run("docker", "stack", "deploy", "--resolve-image", "never", "-c", "unchecked.yml" if is_old else "docker-compose.yml", "-c", "fewer.yml", "faas",
            cwd=self.tree.path, env={**os.environ, **settings})
        wait_until(lambda: versions() == {settings["FAAS_VERSION"]}, 240, "all parts are of one version")
        await_replicas()

    def remove(self):
        docker("stack", "rm", "faas")
        wait_until(lambda: containers(running=False) == {}, 60, "no container")
        wait_until(lambda: "faas_faas" not in docker("network", "ls", "--format", "{{.Name}}").split(), 60, "no network")
        docker("swarm", "leave", "--force")


@pytest.fixture(scope="module", params=[Compose, Swarm], ids=["compose", "swarm"])
def release(request, both):
    """The release, deployed, with empty volumes."""
    deployment = request.param(both)
    deployment.deploy(True)
    yield deployment
    deployment.remove()
    docker("volume", "rm", *(f"faas_nats{n}-data" for n in (1, 2, 3)))


def test_the_release_is_updated_and_rolled_back_under_load(release, both):
    """What refused a call for a moment says so; each that was answered is answered rightly, and each registration is there."""
    wait_until(is_well, 60, "the release is well")
    user = Client.new(URL)
    name = user.register("faas-examples/upper:latest")
    for is_old, what in ((False, "v0.1.0 updated to this version"), (True, "and rolled back"), (False, "and updated again")):
        with Load(URL, retry={"idempotent": True}) as load:
            release.deploy(is_old)
            load.more(10)
        figure(f"{type(release).__name__}: {what}", load.check({"unreachable", "503 unavailable"}))
        assert versions() == {OLD_TAG if is_old else both.settings["FAAS_VERSION"]}
        assert user.call(name, "abc").text == "ABC"
        assert [f["name"] for f in user.get("/registry/list").json] == [name] and user.get("/auth/validate").json["username"] == user.username
        if not is_old:  # what the release does not know stays while it runs
            assert user.put("/v1/secrets/word", {"value": "kept"}).status in (200, 201) if what.startswith("v") else \
                [s["name"] for s in user.get("/v1/secrets").json["items"]] == ["word"]
