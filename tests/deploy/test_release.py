"""Release v0.1.0 in containers and this version in its place, under load, and back: nothing acknowledged is lost, and the data stays.

The release had no images: these are made of its programs (scripts/check-upgrade builds them), as its users would have made them, without the
health checks that it did not have."""
import os
import re
import shutil

import pytest

from conftest import IS_FULL, ROOT, URL, containers, docker, figure, run
from load import Load
from support import Client, wait_until
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
    return {line.split(":")[-1] for line in used if line.startswith("faas_") and "nats" not in line}


def remove():
    docker("stack", "rm", "faas")
    wait_until(lambda: containers(running=False) == {}, 60, "no container")
    wait_until(lambda: "faas_faas" not in docker("network", "ls", "--format", "{{.Name}}").split(), 60, "no network")


@pytest.fixture(scope="module")
def release(tree):
    """Deploys the release (True) or this version (False) as the stack."""
    if not (OLD / "faas-gateway").exists():
        run(ROOT / "scripts/check-upgrade", "--programs")
    mixed = tree.path / "old"
    shutil.copytree(os.environ["FAAS_BIN"], mixed)
    for program in OLD.iterdir():
        shutil.copy(program, mixed)
    run(ROOT / "scripts/images", "--programs", mixed, "--tag", OLD_TAG, *SERVICES)
    (tree.path / "fewer.yml").write_text(FEWER)
    text = (tree.path / "docker-compose.yml").read_text()
    (tree.path / "unchecked.yml").write_text(re.sub(r"healthcheck: \{<<: \*health.*", "healthcheck: {disable: true}", text))
    tree.start("--swarm", **OFTEN)  # for keys and settings; the release begins with empty volumes
    remove()
    docker("volume", "rm", *(f"faas_nats{n}-data" for n in (1, 2, 3)))
    settings = dict(line.split("=", 1) for line in (tree.path / ".env").read_text().splitlines() if "=" in line and not line.startswith(("SPAWNER_", "COMPOSE_")))

    def deploy(is_old):
        tag = OLD_TAG if is_old else settings["FAAS_VERSION"]
        run("docker", "stack", "deploy", "--resolve-image", "never", "-c", "unchecked.yml" if is_old else "docker-compose.yml", "-c", "fewer.yml", "faas",
            cwd=tree.path, env={**os.environ, **settings, **OFTEN, "FAAS_VERSION": tag})
        wait_until(lambda: versions() == {tag}, 240, f"all parts are {tag}")
        await_replicas()
    deploy(True)
    yield deploy
    remove()
    docker("swarm", "leave", "--force")


def test_the_release_is_updated_and_rolled_back_under_load(release):
    wait_until(lambda: Client(URL).get("/healthz").status == 200, 60, "the release is well")
    user = Client.new(URL)
    name = user.register("faas-examples/upper:latest")
    for is_old, what in ((False, "v0.1.0 updated to this version"), (True, "and rolled back")):
        with Load(URL) as load:
            release(is_old)
            load.more(10)
        figure(f"Swarm: {what}", load.check({"unreachable", "503 unavailable"}))
        assert user.call(name, "abc").text == "ABC"
    release(False)
    assert user.call(name, "abc").text == "ABC"
