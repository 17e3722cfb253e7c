"""`faas up --nats-tls`: the bus by TLS, with keys made once, while servers are killed; who has no certificate of its authority is not let in."""
import json
import os
import pathlib
import socket
import stat
import threading
import urllib.request

import pytest

import conftest
from support import Client, Platform, free_port, unique, wait_until


@pytest.fixture(scope="module")
def platform(engine, tmp_path_factory):
    platform = Platform(conftest.BIN, str(tmp_path_factory.mktemp("bus-tls")), free_port(), {"nats": 3}, engine)
    platform.up("--nats-tls")
    yield platform
    platform.down()
    platform.check_logs()


def servers(platform):
    """Monitoring pages of the NATS servers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return [json.load(opener.open(f"http://127.0.0.1:{p['monitor_port']}/varz", timeout=10)) for p in platform.status()["processes"] if p["service"] == "nats"]


def test_clients_and_routes_are_encrypted(platform):
    for server in servers(platform):
        assert server["tls_required"] and server["cluster"]["tls_required"], server
        with socket.create_connection(("127.0.0.1", server["port"])) as plain:
            plain.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
            said = b"".join(iter(lambda: plain.recv(4096), b""))
        assert b'"tls_required":true' in said and b"PONG" not in said, said


def test_private_keys_are_private_and_none_is_in_an_environment(platform):
    keys = pathlib.Path(platform.data, "keys")
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in keys.glob("nats-*.pem")} == {
        "nats-ca.pem": 0o644, "nats-ca-key.pem": 0o600, "nats-tls.pem": 0o644, "nats-tls-key.pem": 0o600}
    for process in platform.status()["processes"]:
        assert b"PRIVATE" not in pathlib.Path(f"/proc/{process['pid']}/environ").read_bytes()


def test_the_operators_verbs_use_it(platform, tmp_path):
    invited = platform.run("invite", "--data", platform.data)
    assert invited.returncode == 0 and len(invited.stdout) > 20, invited.stderr
    saved = platform.run("backup", str(tmp_path / "backup"), "--data", platform.data)
    assert saved.returncode == 0, saved.stderr
    ports = json.loads(pathlib.Path(platform.data, "ports.json").read_text())["ports"]
    at = ["--nats-url", f"nats://127.0.0.1:{ports['nats-1']}", "--nkey-file", f"{platform.data}/keys/nats-cli.seed"]
    plain = platform.run("invite", *at)
    assert plain.returncode == 2 and "not signed by an authority in NATS_CA_FILE" in plain.stderr, plain.stderr
    assert platform.run("invite", *at, "--nats-ca-file", f"{platform.data}/keys/nats-ca.pem").returncode == 0


def test_no_call_is_lost_while_servers_are_killed(platform):
    user = Client.new(platform.url)
    name = user.register("faas-examples/echo:latest")
    large, failed, done, is_over = "x" * 120_000, [], [0], threading.Event()

    def call():
        while not is_over.is_set():
            argument = unique("a") + large * (done[0] % 2)
            answer = user.call(name, argument)
            done[0] += 1
            if (answer.status, answer.text) != (200, argument):
                failed.append((answer.status, answer.text[:200]))

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for number in range(3):
        target = done[0] + 20
        wait_until(lambda: done[0] >= target, 60, "calls go on")
        victim = [p for p in platform.status()["processes"] if p["service"] == "nats"][number]
        os.kill(victim["pid"], 9)
        wait_until(lambda: [p for p in platform.status()["processes"] if p["name"] == victim["name"] and p["state"] == "running" and p["pid"] != victim["pid"]], 30, "it is back")
        wait_until(lambda: all(server["cluster"].get("urls") for server in servers(platform)), 30, "all answer")
    target = done[0] + 20
    wait_until(lambda: done[0] >= target, 60, "calls go on")
    is_over.set()
    for caller in callers:
        caller.join()
    assert failed == []


def test_started_again_it_has_the_same_authority(platform):
    authority = pathlib.Path(platform.data, "keys/nats-ca.pem")
    before = authority.read_bytes()
    platform.down()
    platform.up("--nats-tls")
    assert authority.read_bytes() == before and servers(platform)[0]["tls_required"]
    platform.down()
    platform.up()
    assert not servers(platform)[0].get("tls_required")
