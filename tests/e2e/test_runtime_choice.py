"""What `faas up` runs functions in when nobody says: sandboxes where the machine can, else an engine, else a reason."""
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import pytest

import conftest
from support import Client, Platform, free_port
from test_image import is_root

NOWHERE = "unix:///nowhere/docker.sock"


class Chosen(Platform):
    """A platform that chooses; what it said."""

    def __init__(self, data, engine, runtime="auto"):
        super().__init__(conftest.BIN, str(data), free_port(), {}, engine, {"SPAWNER_RUNTIME": runtime})

    def start(self, **more):
        done = subprocess.run([self.faas, "up", "--data", self.data, "--listen", self.listen, "--detach"], env=self.env, text=True, capture_output=True,
                              timeout=120, **more)
        self.said = done.stdout + done.stderr
        self.is_native = "functions run in sandboxes (native)" in self.said
        return done.returncode


@pytest.mark.skipif(not is_root, reason="sandboxes need root")
def test_without_an_engine_root_gets_sandboxes(tmp_path):
    plat = Chosen(tmp_path, NOWHERE)
    assert plat.start() == 0 and plat.is_native and "no engine is needed" in plat.said, plat.said
    try:
        assert plat.status()["runtime"] == "native"
        done = plat.run("image", "import", str(conftest.ROOT / "build/examples/echo.tar"), "--data", plat.data)
        assert done.returncode == 0, done.stderr
        user = Client.new(plat.url)
        made = user.post("/registry/register", {"name": "echo", "payload": "faas-examples/echo:latest"})
        assert made.status == 201 and made.json["isolation"] == "sandbox", made.text
        assert user.call("echo", "-n x").body == b"-n x"
    finally:
        assert plat.down() == []
    plat.check_logs()


@pytest.mark.skipif(not is_root, reason="sandboxes need root")
def test_functions_stay_with_the_engine_they_were_registered_with(engine, tmp_path):
    plat = Chosen(tmp_path, engine, "docker")
    assert plat.start() == 0 and "functions run in containers (docker): SPAWNER_RUNTIME says so" in plat.said, plat.said
    user = Client.new(plat.url)
    name = user.register("faas-examples/echo:latest")
    assert plat.down() == []
    plat.env["SPAWNER_RUNTIME"] = "auto"
    assert plat.start() == 0 and "functions run in containers (docker): the functions in this directory" in plat.said, plat.said
    assert user.call(name, "-n x").body == b"-n x"
    assert plat.down() == []
    plat.env["SPAWNER_RUNTIME"] = "native"
    assert plat.start() == 0 and plat.is_native, plat.said
    assert user.post(f"/v1/functions/{name}/refresh").json["isolation"] == "sandbox" and user.call(name, "-n x").body == b"-n x"
    assert plat.down() == []
    plat.check_logs()


def nats_server():
    ours = conftest.ROOT / "build/deps/bin/nats-server"
    return os.environ.get("NATS_SERVER") or (ours if ours.exists() else shutil.which("nats-server", path=os.environ["PATH"] + ":/usr/sbin"))


def test_what_is_missing_is_said(tmp_path):
    assert Chosen(tmp_path, NOWHERE, "vm").start() == 2
    if not is_root:
        return
    with tempfile.TemporaryDirectory() as home:  # another user's own programs and folder
        shutil.copytree(conftest.BIN, f"{home}/bin")
        shutil.copy(nats_server(), f"{home}/bin")  # it is found there, too
        nobody = pwd.getpwnam("nobody")
        for path in (home, *pathlib.Path(home).rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        plat = Chosen(f"{home}/data", NOWHERE)
        plat.env.pop("NATS_SERVER", None)
        plat.faas = f"{home}/bin/faas"
        assert plat.start(user="nobody") == 5 and "sandboxes need root" in plat.said and "no Docker Engine at unix:///nowhere" in plat.said, plat.said
        plat.env["SPAWNER_RUNTIME"] = "native"
        assert plat.start(user="nobody") == 5 and "SPAWNER_RUNTIME is native, but sandboxes need root" in plat.said, plat.said
        plat.env["SPAWNER_RUNTIME"] = "docker"
        assert plat.start(user="nobody") == 0 and "no Docker Engine answers" in plat.said, plat.said
        assert subprocess.run([plat.faas, "down", "--data", plat.data], env=plat.env, user="nobody").returncode == 0
