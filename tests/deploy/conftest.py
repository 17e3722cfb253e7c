"""The deployment under test: scripts/run and the Compose files in a folder of their own, on the engine of DOCKER_HOST, whose network this process is in (scripts/test-deploy).

FAAS_DEPLOY   quick: Compose 2 and images of the programs in FAAS_BIN; full: everything
FAAS_BIN      folder of the programs
"""
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
IS_FULL = os.environ.get("FAAS_DEPLOY") == "full"
URL = "http://127.0.0.1:80"
DEFAULTS = {"nats1": 1, "nats2": 1, "nats3": 1, "auth-service": 3, "registry-service": 3, "publisher-service": 3, "spawner-service": 10, "gateway": 1}
figures = []


def run(*args, check=True, **more):
    done = subprocess.run([str(a) for a in args], text=True, capture_output=True, **more)
    assert not check or done.returncode == 0, (args, done.returncode, done.stdout[-3000:], done.stderr[-3000:])
    return done


def docker(*args, **more):
    return run("docker", *args, **more).stdout.strip()


def figure(what, value):
    figures.append((what, value))


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("figures")
    for what, value in figures:
        terminalreporter.write_line(f"{what:<60} {value}")


class Tree:
    """A folder with what is deployed from; secrets and settings of a deployment are made in it."""

    def __init__(self, path):
        self.path = path
        for file in [*ROOT.glob("docker-compose*.yml"), *(ROOT / name for name in ("Dockerfile", ".dockerignore", "Makefile"))]:
            shutil.copy(file, path)
        for name in ("scripts", "libfaas", "gateway", "services", "cli"):
            shutil.copytree(ROOT / name, path / name)
        (path / "docs").mkdir()
        shutil.copy(ROOT / "docs/openapi.yaml", path / "docs")
        (path / "build").mkdir()
        (path / "build/deps").symlink_to(ROOT / "build/deps")

    def start(self, *args, **settings):
        """scripts/run; the seconds it took."""
        began = time.monotonic()
        run(self.path / "scripts/run", *args, env={**os.environ, **settings})
        return time.monotonic() - began


@pytest.fixture(scope="session")
def images():
    """Images faas/NAME:VERSION of the programs in FAAS_BIN; name -> bytes."""
    made = run(ROOT / "scripts/images", "--programs", os.environ["FAAS_BIN"]).stdout
    names = [line.split()[0] for line in made.splitlines()]
    assert len(names) == 8, made
    sizes = {name: int(docker("image", "inspect", "-f", "{{.Size}}", name)) for name in names}
    for name, size in sizes.items():
        figure(f"image {name}", f"{size / 1e6:.1f} MB")
    return sizes


@pytest.fixture(scope="module")
def tree(tmp_path_factory, images):
    return Tree(tmp_path_factory.mktemp("deploy"))


def containers(service=None, running=True):
    """name -> id of the containers of the deployment, Compose's and a Swarm's alike."""
    found = {}
    for line in docker("ps", *([] if running else ["-a"]), "--no-trunc", "--format", "{{.ID}} {{.Names}}").splitlines():
        container, name = line.split()
        if name.startswith("faas") and (service is None or f"{service}" in name.replace("faas_", "", 1).replace("faas-", "", 1)):
            found[name] = container
    return found


def memory_pss():
    """Proportional set size of every process in the deployment's containers: (ours, NATS's), in MB."""
    ours = nats = 0
    for name, container in containers().items():
        pid = docker("inspect", "-f", "{{.State.Pid}}", container)
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        kb = int(text.split("\nPss:", 1)[1].split()[0])
        if "nats" in name:
            nats += kb
        else:
            ours += kb
    return ours / 1024, nats / 1024
