"""The commands printed in docs/OPERATIONS.md, in their order, as printed."""
import os
import re

import pytest

from conftest import IS_FULL, ROOT, URL, containers, docker, run
from support import Client, wait_until

pytestmark = pytest.mark.skipif(not IS_FULL, reason="make test-deploy")
SECTIONS = {title: re.findall(r"```sh\n(.*?)```", text, re.S)
            for title, text in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", (ROOT / "docs/OPERATIONS.md").read_text(), re.S | re.M)}


@pytest.fixture(scope="module")
def shell(tree):
    """What a section prints is typed into one shell, whose functions and variables later sections use."""
    typed = []

    def type_in(title, block=0):
        script = SECTIONS[title][block]
        output = run("bash", "-euo", "pipefail", "-c", "\n".join(typed) + "\necho BEGIN\n" + script, cwd=tree.path, timeout=600).stdout
        typed.extend(line for line in script.splitlines() if re.match(r"\w+\(\) \{|\w+=\S+$", line))
        return output.split("BEGIN\n", 1)[1]
    yield type_in
    run("docker", "compose", "down", "-v", cwd=tree.path, check=False)
    run("docker", "swarm", "leave", "--force", check=False)


@pytest.fixture(scope="module")
def user(shell):
    assert "ready on port 80" in shell("Install")
    user = Client.new(URL)
    user.register("faas-examples/echo:latest", "echo")
    return user


def works(user):
    answer = user.call("echo", "abc")
    return (answer.status, answer.text) == (200, "abc")


def test_every_section_with_commands_is_tried():
    assert {title for title, blocks in SECTIONS.items() if blocks} == {
        "Install", "Look", "Scale", "Invitations", "Backup", "Upgrade", "Certificates", "Keys", "TLS on the bus", "Sandboxes instead of containers", "Stop, remove", "In a Swarm"}


def test_look(shell, user):
    said = shell("Look")
    assert "(healthy)" in said and '"service":"gateway"' in said and '"service":"publisher"' in said and said.rstrip().endswith("OKok"), said[-300:]


def test_scale(shell, user):
    shell("Scale")
    assert len(containers("spawner-service")) == 4 and len(containers("registry-service")) == 2
    assert works(user)


def test_invitations_and_backup(shell, user, tree):
    assert re.fullmatch(r"\S{20,}\n", shell("Invitations"))
    shell("Backup")
    backup = tree.path / "faas.backup"
    assert backup.stat().st_mode & 0o777 == 0o600
    data = tree.path / "restored"
    said = run(os.path.join(os.environ["FAAS_BIN"], "faas"), "restore", backup, "--data", data, "--json", "--replicas", "nats=1", timeout=120).stdout
    assert '"functions"' in said and (data / "keys/token-1.pem").read_bytes() == (tree.path / "secrets/keys/token-1.pem").read_bytes()


def test_restore_into_containers(shell, user, tree):
    refused = run(tree.path / "scripts/run", "--restore", tree.path / "faas.backup", check=False)
    assert refused.returncode == 1 and "new deployment" in refused.stderr, refused.stderr
    other = run("bash", "-euc", "\n".join([*SECTIONS["Invitations"][0].splitlines()[:2], "cp faas.backup secrets/x; chown 10001 secrets/x",
                "in_platform restore /secrets/x --data /secrets --nats-url $bus"]), cwd=tree.path, check=False)
    assert other.returncode == 2 and "hold functions already" in other.stderr, other.stderr
    assert "ready on port 80" in shell("Backup", 1)
    assert works(user) and user.get("/auth/validate").status == 200
    assert [f["name"] for f in user.get("/registry/list").json] == ["echo"]
    assert (tree.path / "secrets.before/keys/token-1.pem").read_bytes() == (tree.path / "secrets/keys/token-1.pem").read_bytes()


def test_upgrade(shell, user):
    before = containers()
    shell("Upgrade")
    assert works(user) and set(before.values()) != set(containers().values())


def test_certificates(shell, user):
    assert shell("Certificates").rstrip().endswith("OK")
    assert works(user)


def test_another_signing_key(shell, user, tree):
    key = (tree.path / "secrets/keys/token-1.pem").read_bytes()
    shell("Keys", 0)
    assert (tree.path / "secrets/keys/token-1.pem").read_bytes() != key
    wait_until(lambda: Client(URL).get("/auth/health").status == 200, 60, "auth is well")
    newer = Client(URL)
    newer.token = Client.new(URL).token
    header = [t.token.split(".")[0] for t in (user, newer)]
    assert header[0] != header[1] and user.get("/auth/validate").status == newer.get("/auth/validate").status == 200


def test_other_keys_on_the_bus(shell, user, tree):
    seed = (tree.path / "secrets/keys/nats-auth.seed").read_bytes()
    shell("Keys", 1)
    assert (tree.path / "secrets/keys/nats-auth.seed").read_bytes() != seed
    assert works(user)


def test_tls_on_the_bus(shell, user, tree):
    refused = run(tree.path / "scripts/run", "--nats-tls", check=False)
    assert refused.returncode == 1 and "while nothing runs" in refused.stderr, refused.stderr
    assert re.fullmatch(r"(?s).*ready on port 80\n\S{20,}\n", shell("TLS on the bus"))
    assert works(user)
    for service in ("nats2", "publisher-service"):
        os.kill(int(docker("inspect", "-f", "{{.State.Pid}}", next(iter(containers(service).values())))), 9)
    assert works(user)


@pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")
def test_sandboxes(shell, user, tree):
    shell("Sandboxes instead of containers")
    assert len(containers("spawner-service")) == 1
    other = Client.new(URL)
    record = other.post("/registry/register", {"name": "upper", "description": "", "payload": "faas-examples/upper:latest"})
    assert record.status == 201 and record.json["isolation"] == "sandbox", record.text
    assert other.call("upper", "abc").text == "ABC"
    run(tree.path / "scripts/run", "--docker")
    assert works(user)


def test_stop_and_on_in_a_swarm(shell, user):
    shell("Stop, remove")
    assert containers(running=False) == {}
    shell("In a Swarm")
    wait_until(lambda: containers(running=False) == {}, 120, "the stack is gone")
