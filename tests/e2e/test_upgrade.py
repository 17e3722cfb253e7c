"""This build beside the programs of a release, and in their place; scripts/check-upgrade makes these and says where they are."""
import os
import pathlib
import re
import subprocess

import pytest

import conftest
from support import Client, Platform, free_port, unique
from test_doctor import doctor
from test_image import is_root
from test_mixed import SERVICES, gateways, mixed_folder, ok

OLD = os.environ.get("FAAS_OLD_BIN")
pytestmark = pytest.mark.skipif(not OLD or not is_root, reason="scripts/check-upgrade runs it, as root")
NATIVE = {"SPAWNER_RUNTIME": "native", "ALLOWED_REGISTRIES": "none"}
EXAMPLE = conftest.ROOT / "build/examples/upper.tar"


def platform(folder, data, port, replicas):
    plat = Platform(folder, str(data), port, replicas, "", NATIVE)
    plat.is_native = True
    return plat


def import_example(folder, data):
    subprocess.run([pathlib.Path(folder) / "faas", "image", "import", EXAMPLE, "--data", data], check=True, capture_output=True)


def account(urls):
    """A new user, logged in, at each of the doors."""
    name, password = unique(), unique("password")
    ok(Client(urls[0]).post("/auth/register", {"username": name, "password": password}), 201)
    token = ok(Client(urls[-1]).post("/auth/login", {"username": name, "password": password})).json["token"]
    return [Client(url, token) for url in urls]


def test_data_of_the_release_is_kept_on_the_way_up_and_down(tmp_path):
    data, port, token, name = tmp_path / "data", free_port(), None, None
    import_example(OLD, data)
    for folder in (OLD, conftest.BIN, OLD, conftest.BIN):
        plat = platform(folder, data, port, {})
        plat.up()
        try:
            user = account([plat.url])[0] if token is None else Client(plat.url, token)
            token = user.token
            name = name or user.register("faas-examples/upper:latest")
            assert ok(user.call(name, "as before")).body == b"AS BEFORE"
            assert [f["name"] for f in ok(user.get("/registry/list")).json] == [name]
            if folder == conftest.BIN:
                ok(user.put(f"/v1/functions/{name}/aliases/live", {"version": 1}))
                assert ok(user.call(f"{name}:live", "new")).body == b"NEW"
        finally:
            assert plat.down() == []


def test_the_release_and_this_build_work_side_by_side(tmp_path):
    plat = platform(mixed_folder(tmp_path / "bin", OLD), tmp_path / "data", free_port(), dict.fromkeys(SERVICES, 2))
    import_example(conftest.BIN, plat.data)
    plat.up()
    try:
        urls, served = gateways(plat), set()
        for i in range(4):
            users = account(urls if i % 2 else urls[::-1])
            names = [users[k % 2].register("faas-examples/upper:latest") for k in range(4)]
            for k in range(32):
                answer = ok(users[k % 2].call(names[k % 4], f"argument {k}"))
                assert answer.body == f"ARGUMENT {k}".encode()
                served.add(answer.headers["X-Served-By"])
            assert sorted(f["name"] for f in ok(users[i % 2].get("/registry/list")).json) == sorted(names)
            assert ok(users[0].put("/registry/update", {"name": names[0], "timeout_ms": 20000})).json["version"] == 2
            picked = users[0].call(f"{names[0]}@1", "never another version")
            assert picked.status in (400, 503) or picked.body == b"NEVER ANOTHER VERSION", picked.text
        assert served == {"spawner1", "spawner2"}
        said = [{f[:2]: f[2] for f in doctor(plat, users[0], FAAS_URL=url)[1]} for url in urls]
        assert re.fullmatch(r"\w+ \w+ is [0-9.]+, \w+ \w+ is of a release that does not say which", said[0]["versions", "warning"]), said[0]
        assert said[1]["services", "warning"] == "the gateway is of a release that does not list instances", said[1]
        assert [p["name"] for p in plat.status()["processes"] if p["restarts"]] == []
    finally:
        assert plat.down() == []
