"""A Swarm of three engines, each in a network namespace of its own, joined by a switch: the stack on all of them, and one lost under load.

What this kernel has no IP_VS for, virtual addresses and a port on every node (ingress), the stack does without; overlay networks are real."""
import hashlib
import os
import pathlib
import subprocess
import time

import pytest

from conftest import IS_FULL, ROOT, figure, run
from load import Load
from support import Client, unique, wait_until

pytestmark = pytest.mark.skipif(not IS_FULL or os.geteuid() != 0, reason="make test-deploy, as root")
NODES = (1, 2, 3)
SWITCH, OWN = "faas-switch", "faasown"
SOCKET = "/run/faas-node.sock"  # of its own engine on each node, whatever the engine's folder is
NAMES = ("nats", "auth", "registry", "publisher", "spawner", "gateway")
FEWER = 'version: "3.8"\nservices:\n  spawner-service: {deploy: {replicas: 3}}\n'


class Node:
    """An engine in a namespace of its own, at 10.99.0.1N."""

    def __init__(self, number, folder):
        self.number, self.folder, self.address = number, folder, f"10.99.0.{10 + number}"
        self.url = f"http://{self.address}:80"
        self.host = run(ROOT / "scripts/engine", "start", folder).stdout.split()[-1]
        self.space = "faas-" + hashlib.sha256(os.path.realpath(folder).encode()).hexdigest()[:8]
        run("ip", "link", "add", f"faasnode{number}", "netns", SWITCH, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        run("ip", "-n", SWITCH, "link", "set", f"faasnode{number}", "master", "br0", "up")
        run("ip", "-n", self.space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        run("ip", "-n", self.space, "link", "set", "eth0", "up")
        daemon = pathlib.Path(folder, "pid").read_text()
        pathlib.Path(SOCKET).touch()
        run("nsenter", "-t", daemon, "-m", "mount", "--bind", self.host.removeprefix("unix://"), SOCKET)

    def docker(self, *args, **more):
        return run("docker", "-H", self.host, *args, **more).stdout.strip()

    def load(self, *images):
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            run("docker", "-H", self.host, "load", "-q", stdin=saved.stdout)

    def cut(self):
        """From here on no packet comes from it."""
        run("ip", "-n", SWITCH, "link", "set", f"faasnode{self.number}", "down")

    def end(self):
        run(ROOT / "scripts/engine", "stop", self.folder)


@pytest.fixture(scope="module")
def nodes(tree):
    version = next(line.split('"')[1] for line in (ROOT / "libfaas/version.h").read_text().splitlines() if "FAAS_VERSION " in line)
    run("ip", "netns", "add", SWITCH)
    run("ip", "-n", SWITCH, "link", "add", "br0", "type", "bridge")
    run("ip", "-n", SWITCH, "link", "set", "br0", "up")
    run("ip", "link", "add", OWN, "type", "veth", "peer", "name", "faasnode0", "netns", SWITCH)
    run("ip", "-n", SWITCH, "link", "set", "faasnode0", "master", "br0", "up")
    run("ip", "addr", "add", "10.99.0.1/24", "dev", OWN)
    run("ip", "link", "set", OWN, "up")
    nodes = []
    try:
        for number in NODES:
            nodes.append(Node(number, f"/tmp/faas-node{number}.{os.getpid()}"))
            nodes[-1].load(*(f"faas/{name}:{version}" for name in NAMES), "faas-examples/echo:latest")
        yield nodes
    finally:
        for node in nodes:
            node.end()
        run("ip", "link", "del", OWN, check=False)
        run("ip", "netns", "del", SWITCH)
        pathlib.Path(SOCKET).unlink(missing_ok=True)


def await_replicas(node):
    def all_are_there():
        rows = node.docker("service", "ls", "--format", "{{.Replicas}}").splitlines()
        return rows and all(row.split("/")[0] == row.split("/")[1].split()[0] for row in rows)
    wait_until(all_are_there, 180, "all replicas are well")


@pytest.fixture(scope="module")
def stack(tree, nodes):
    tree.start()  # keys and settings; what Compose starts on the test's own engine is not needed
    run("docker", "compose", "down", "-v", cwd=tree.path)
    first = nodes[0]
    first.docker("swarm", "init", "--advertise-addr", first.address)
    token = first.docker("swarm", "join-token", "-q", "manager")
    ids = [first.docker("info", "-f", "{{.Swarm.NodeID}}")]
    for node in nodes[1:]:
        node.docker("swarm", "join", "--token", token, "--advertise-addr", node.address, f"{first.address}:2377")
        ids.append(node.docker("info", "-f", "{{.Swarm.NodeID}}"))
    settings = dict(line.split("=", 1) for line in (tree.path / ".env").read_text().splitlines() if "=" in line and not line.startswith(("SPAWNER_", "COMPOSE_")))
    settings.update({"DOCKER_SOCK": SOCKET, "HEALTH_INTERVAL": "2s", **{f"NATS{n}_NODE": f"node.id == {node_id}" for n, node_id in zip(NODES, ids)}})
    (tree.path / "fewer.yml").write_text(FEWER)
    began = time.monotonic()
    first.docker("stack", "deploy", "--resolve-image", "never", "-c", "docker-compose.yml", "-c", "fewer.yml", "faas", cwd=tree.path, env={**os.environ, **settings})
    await_replicas(first)
    figure("Swarm of three nodes: stack to all healthy", f"{time.monotonic() - began:.1f} s")
    return nodes


def registers(user):
    try:
        return user.post("/registry/register", {"name": unique("n"), "description": "", "payload": "faas-examples/echo:latest"}, timeout=5).status == 201
    except OSError:
        return False


def test_a_lost_node_costs_nothing_that_was_acknowledged(stack):
    for node in stack:  # a gateway on each
        wait_until(lambda node=node: Client(node.url).get("/healthz").status == 200, 60, node.url)
    parts = [set(name.split(".")[0] for name in node.docker("ps", "--format", "{{.Names}}").splitlines()) for node in stack]
    assert all(len(part) > 2 for part in parts), parts
    with Load(stack[0].url) as load:
        load.more(10)
        began, before = time.monotonic(), load.calls
        stack[2].cut()
        acknowledged = len(load.acknowledged)
        for count in (1, 10):
            wait_until(lambda count=count: load.calls >= before + count, 60, "calls go on")
            figure(f"Swarm of three nodes: one lost, {count} more calls after", f"{time.monotonic() - began:.1f} s")
        wait_until(lambda: registers(Client(stack[1].url, load.user.token)), 60, "registrations go on")
        figure("Swarm of three nodes: one lost, a new registration after", f"{time.monotonic() - began:.1f} s")
        wait_until(lambda: len(load.acknowledged) > acknowledged, 90, "one that was under way has ended")
        figure("Swarm of three nodes: one lost, the registration under way ended after", f"{time.monotonic() - began:.1f} s")
        stack[2].end()
        wait_until(lambda: "Down" in stack[0].docker("node", "ls", "--format", "{{.Status}}"), 120, "the Swarm knows")
        load.more(20)
    figure("Swarm of three nodes: one lost under load", load.check({"502 lost", "503 unavailable", "504 timeout", "unreachable"}))
    assert Client(stack[1].url).get("/healthz").status == 200
