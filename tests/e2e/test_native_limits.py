"""The main job in sandboxes alone, and a function's limits from outside: what the kernel's control groups, v1 or v2, keep.  scripts/in-vm runs it on v2."""
import shutil

import pytest

from support import Client
from test_image import is_root
from test_native_images import Native

pytestmark = pytest.mark.skipif(not is_root, reason="sandboxes need root")


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    folder = tmp_path_factory.mktemp("limits")
    with Native(folder) as platform:
        (folder / "image/bin").mkdir(parents=True)
        shutil.copy("/bin/busybox", folder / "image/bin/busybox")
        packed = platform.plat.run("image", "pack", str(folder / "image"), "--tag", "test/sh:1", "--data", platform.plat.data,
                                   *(word for part in ("/bin/busybox", "sh", "-c") for word in ("--entrypoint", part)))
        assert packed.returncode == 0, packed.stderr
        yield platform
    log = "".join(p.read_text() for p in (folder / "data/log").glob("spawner*"))
    assert "no control groups" not in log and "a control group stays" not in log, log[-3000:]


@pytest.fixture
def call(native):
    """Runs a script as a function with these limits; two users may, so every limit is kept."""
    def run(script, **limits):
        user = Client.new(native.plat.url)
        name = user.register("test/sh:1", timeout_ms=20000, limits=limits)
        return user.call(name, f"busybox() {{ /bin/busybox \"$@\"; }}; {script}")
    return run


def test_what_a_function_prints_comes_back(call):
    for word in ("one", "two"):
        answer = call(f"echo {word}")
        assert (answer.status, answer.body) == (200, f"{word}\n".encode()), answer.text


def test_memory_is_bounded_and_told(call):
    assert call("busybox tail /dev/zero", memory_mb=32).problem(502, "function_failed")["oom"]
    assert not call("exit 9", memory_mb=32).problem(502, "function_failed").get("oom")  # that was another call's


def test_processes_are_bounded(call):
    answer = call("(i=0; while [ $i -lt 500 ]; do /bin/busybox sleep 60 & i=$((i+1)); echo $i >/tmp/n; done) 2>/dev/null; read n </tmp/n; echo $n", pids=20)
    assert answer.status == 200 and 10 <= int(answer.text) <= 20, answer.text
    assert call("f() { f | f & }; f 2>/dev/null; echo lit", pids=20).status in (200, 502)
    assert call("echo a neighbour").text == "a neighbour\n"


def test_the_processor_is_bounded(call):
    answer = call("busybox timeout 2 /bin/busybox sh -c 'while :; do :; done'; read line </proc/self/stat; set -- $line; echo $((${16} + ${17}))", cpus=0.2)
    used_ms = int(answer.text) * 10  # of its children
    assert answer.status == 200 and 0 < used_ms <= 0.2 * float(answer.headers["X-Duration-Ms"]) + 200, (answer.text, dict(answer.headers))
