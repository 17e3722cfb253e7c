"""The platform under test: `faas up` with several replicas of everything, on a real engine and real NATS servers.

FAAS_BIN      folder of the programs (build/release/bin by default)
FAAS_RUNTIME  docker (default) or native: what the platform's functions run in
FAAS_SMALL    when set: one process of each kind
DOCKER_HOST   engine to use; without one a private engine is started in its own network namespace and ended afterwards
"""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

from support import Client, Platform, free_port, unique

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("FAAS_BIN", ROOT / "build/release/bin")).resolve()


# What the fixture `functions` registers.
IMAGES = {
    "upper": "faas-examples/upper:latest", "echo": "faas-examples/echo:latest", "report": "faas-examples/report:latest",
    "fail": "faas-tests/fail:latest", "cmdonly": "faas-tests/cmd-only:latest", "shellcmd": "faas-tests/shell-cmd:latest",
    "entrycmd": "faas-tests/entry-and-cmd:latest", "badexec": "faas-tests/bad-exec:latest",
    "volumeuser": "faas-tests/volume-user:latest",
}


def run(*args, **more):
    return subprocess.run([str(a) for a in args], check=True, text=True, capture_output=True, **more).stdout.strip()


@pytest.fixture(scope="session")
def engine():
    """DOCKER_HOST of an engine that holds the example and test images."""
    found = subprocess.run([ROOT / "scripts/engine", "find"], text=True, capture_output=True)
    started = None
    if found.returncode == 0:
        host = found.stdout.strip()
    else:
        started = tempfile.mkdtemp(prefix="faas-e2e-engine-")
        host = run(ROOT / "scripts/engine", "start", started).splitlines()[-1]
    run(ROOT / "scripts/examples", "--tests", env={**os.environ, "DOCKER_HOST": host})
    yield host
    if started:
        run(ROOT / "scripts/engine", "stop", started)
        shutil.rmtree(started, ignore_errors=True)


def is_address_sanitized():
    return b"__asan_init" in (BIN / "faas-gateway").read_bytes()


@pytest.fixture(scope="session")
def platform(engine):
    data = tempfile.mkdtemp(prefix="faas-e2e-")
    replicas = {} if os.environ.get("FAAS_SMALL") else {"nats": 3, "auth": 3, "registry": 3, "publisher": 3, "spawner": 2}
    plat = Platform(BIN, data, free_port(), replicas, engine, {"CALLBACK_ALLOW": "127.0.0.2/32", "QUEUED_MB_TENANT": "2", "RESULTS_MB": "16"})
    plat.up()
    yield plat
    left = plat.down()
    plat.check_logs()
    assert left == [], f"containers left behind: {left}"
    record_promise(25, "tests/e2e/conftest.py", "platform", "0 containers left when the platform went down after all tests")
    if is_address_sanitized():
        record_promise(43, "tests/e2e/conftest.py", "platform", "0 reports of the address and undefined-behaviour sanitizers under all tests")
    if os.environ.get("KEEP_DATA") is None:
        for folder in (data, f"{data}-run"):
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def client(platform):
    """A logged-in user of its own for the session."""
    return Client.new(platform.url)


@pytest.fixture
def other(platform):
    return Client.new(platform.url)


@pytest.fixture(scope="session")
def functions(client):
    """name -> registered function, for every example and test image that can be registered."""
    for name, image in IMAGES.items():
        r = client.post("/registry/register", {"name": name, "description": "", "payload": image})
        assert r.status == 201, (name, r.status, r.text)
    return IMAGES


def record_promise(number, file, test, figure):
    """A line for scripts/gen-promises, as tests/support/promise.h writes them."""
    if "FAAS_PROMISES" in os.environ:
        with open(pathlib.Path(os.environ["FAAS_PROMISES"], f"{number:02}-{test.partition('[')[0]}"), "a") as out:
            out.write(f"{number}\t{file}\t{test}\t{figure}\n")


@pytest.fixture
def promise(request):
    """promise(number, figure), a test's last line: it proved that promise of tests/promises.txt; the figure is a count, equal in every run."""
    def record(number, figure):
        record_promise(number, request.path.relative_to(ROOT), request.node.name, figure)
    return record


# What takes longest comes first: of several workers none is left with it at the end.
LONGEST = ("faults", "versions", "streaming", "queued", "keys", "backup", "mixed", "functions", "load", "metrics", "main_job", "abuse", "native_images")


def pytest_collection_modifyitems(items):
    rank = {f"test_{name}.py": i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


def pytest_configure(config):
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated"))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it, and so would what is started here
    assert unique() != unique()
