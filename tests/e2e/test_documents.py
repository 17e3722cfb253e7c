"""The commands printed in the README run, in order, as printed, and do what the text says."""
import json
import os
import pathlib
import re
import subprocess

import pytest

import conftest
from support import Client, free_port

README = (conftest.ROOT / "README.md").read_text()


def blocks(section):
    """The sh blocks of one section of the README."""
    text = README.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```sh\n(.*?)```", text, re.S)


@pytest.mark.parametrize("where", ["with an engine", pytest.param("without one", marks=pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root"))])
def test_the_commands_under_use_it(engine, tmp_path, where):
    script = "\n".join(blocks("Use it"))
    assert "faas up" in script and "faas down" in script and "curl" in script
    port = free_port()
    for printed, here in (("build/release/bin", str(conftest.BIN)), ("~/.local/share/faas", str(tmp_path / ".local/share/faas")),
                          ("127.0.0.1:8080", f"127.0.0.1:{port}")):
        assert printed in script
        script = script.replace(printed, here)
    env = {**os.environ, "DOCKER_HOST": engine if where == "with an engine" else "unix:///nowhere", "HOME": str(tmp_path), "FAAS_URL": f"http://127.0.0.1:{port}"}
    env.pop("XDG_CONFIG_HOME", None)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=conftest.ROOT, env=env, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert f"ready http://127.0.0.1:{port}" in done.stdout
    assert "ABC" in done.stdout and "HELLO" in done.stdout


def run_page(name, platform, folder):
    """Every sh block of a page of docs/, in order, as a new user of the platform; what it printed."""
    script = "".join(re.findall(r"```sh\n(.*?)```", (conftest.ROOT / "docs" / name).read_text(), re.S))
    token = Client.new(platform.url).token
    (folder / "faas").symlink_to(platform.data)  # where commands about images look by default
    env = {**platform.env, "PATH": f"{conftest.BIN}:{os.environ['PATH']}", "FAAS_URL": platform.url, "FAAS_TOKEN": token, "TOKEN": token, "XDG_DATA_HOME": str(folder)}
    script = re.sub(r"\bcurl ", "curl -sS --fail-with-body ", script)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=env, text=True, capture_output=True, timeout=240)
    assert done.returncode == 0, (done.stderr, done.stdout)
    return done


def test_the_commands_of_the_page_on_versions(platform, tmp_path):
    done = run_page("VERSIONS.md", platform, tmp_path)
    assert "HELLOhellogreet:live is version 1\nhellogreet:live is 1=90 2=10\n" in done.stdout, done.stdout
    assert "is what version 1 was" in done.stdout and "enabled greet\nremoved greet:live\n" in done.stdout, done.stdout


def test_the_recipes(platform, tmp_path):
    if not platform.is_native:
        pytest.skip("what is packed is in the image store of sandboxes")
    done = run_page("HOWTO.md", platform, tmp_path)
    assert done.stdout.count("ONCE") == 2 and "GREETING=hello" in done.stdout and "removed canary" in done.stdout, done.stdout


def test_the_commands_of_the_page_on_openfaas(platform, tmp_path):
    done = run_page("OPENFAAS.md", platform, tmp_path)
    status = json.loads(done.stdout.removeprefix("ABC"))
    assert status["name"] == "shout" and status["availableReplicas"] == 1, done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")
def test_the_tutorial(tmp_path):
    script, port = "".join(re.findall(r"```sh\n(.*?)```", (conftest.ROOT / "docs/TUTORIAL.md").read_text(), re.S)), free_port()
    for printed, here in (("make\n", ""), ("$PWD/build/release/bin", str(conftest.BIN)), ("faas up --detach", f"faas up --detach --listen 127.0.0.1:{port}")):
        assert printed in script
        script = script.replace(printed, here)
    env = {**os.environ, "DOCKER_HOST": "unix:///nowhere", "HOME": str(tmp_path), "FAAS_URL": f"http://127.0.0.1:{port}", "SPAWNER_RUN_DIR": str(tmp_path / "run")}
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        env.pop(name, None)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=env, text=True, capture_output=True, timeout=300)
    subprocess.run([conftest.BIN / "faas", "down"], env=env, capture_output=True, timeout=120)
    assert done.returncode == 0, (done.stdout, done.stderr)
    greetings = re.findall(r"^(?:Hello|Good day), \w+!$", done.stdout, re.M)
    assert greetings == ["Hello, world!", "Good day, world!", "Hello, world!", "Good day, world!", "Good day, later!"], done.stdout
    assert done.stdout.count("open sesame") == 2 and "looked at the secret" in done.stdout, done.stdout


def test_the_commands_of_the_page_on_registries(platform, client, tmp_path):
    (script,) = re.findall(r"```sh\n(.*?)```", (conftest.ROOT / "docs/REGISTRIES.md").read_text(), re.S)
    env = {**platform.env, "PATH": f"{conftest.BIN}:{os.environ['PATH']}", "FAAS_URL": platform.url, "FAAS_TOKEN": client.token, "PASSWORD": "s3cret-word"}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=env, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0 and "s3cret-word" not in done.stdout + done.stderr, (done.stdout, done.stderr)
    assert "registry.example:5000  20" in done.stdout and done.stdout.rstrip().endswith("removed registry.example:5000"), done.stdout
    assert client.get("/v1/registries").json["items"] == []
    assert client.request("PUT", "/v1/registries/docker.io", {"username": "me", "password": "s3cret-word"}).status == 201
    assert client.delete("/v1/registries/docker.io").status == 204


def test_the_two_commands_are_named_and_the_links_lead_somewhere():
    assert blocks("Two commands") == ["make demo\nmake test\n"]
    for page in [*conftest.ROOT.glob("*.md"), *(conftest.ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert "://" in target or (page.parent / target).exists(), (page.name, target)


def test_the_index_names_every_document():
    named = set(re.findall(r"\]\(([^)]+)\)", (conftest.ROOT / "docs/README.md").read_text()))
    assert {p.name for p in (conftest.ROOT / "docs").iterdir()} - {"README.md"} <= named


def test_a_stack_is_deployed_in_the_version_of_the_programs():
    version = re.search(r'FAAS_VERSION "(.*)"', (conftest.ROOT / "libfaas/version.h").read_text()).group(1)
    named = re.findall(r"(?:FAAS_VERSION|NATS\d_TAG):-([^}]*)\}", (conftest.ROOT / "docker-compose.yml").read_text())
    assert set(named) == {version} and len(named) == 8, named


def test_no_document_shows_a_make_target_that_is_none():
    targets = set(re.findall(r"^([a-z0-9-]+):", (conftest.ROOT / "Makefile").read_text(), re.M))
    for page in [*conftest.ROOT.glob("*.md"), *pathlib.Path(conftest.ROOT, "docs").glob("*.md")]:
        for named in re.findall(r"`make ([a-z0-9-]+)`", page.read_text()):
            assert named in targets, (page.name, named)


@pytest.mark.skipif(os.path.exists("/var/run/docker.sock"), reason="an engine of this machine would be found")
def test_the_examples_are_made_without_an_engine(tmp_path):
    env = {**os.environ, "EXAMPLES_DIR": str(tmp_path), "DOCKER_HOST": "unix:///nowhere"}
    for _ in range(2):
        done = subprocess.run([conftest.ROOT / "scripts/examples"], env=env, text=True, capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert "made " not in done.stderr, done.stderr
    for name, entrypoint in (("echo", ["/echo"]), ("report", ["/bin/sh", "/report.sh"]), ("upper", ["python", "-I", "-X", "utf8", "/upper.py"])):
        for args in (("import", tmp_path / f"{name}.tar"), ("inspect", f"faas-examples/{name}")):
            done = subprocess.run([conftest.BIN / "faas", "image", *args, "--data", tmp_path / "data", "--json"], text=True, capture_output=True)
            assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["config"]["entrypoint"] == entrypoint


def test_one_version_is_named_everywhere():
    version = re.search(r'FAAS_VERSION "(.*)"', (conftest.ROOT / "libfaas/version.h").read_text())[1]
    assert f"\n  version: {version}\n" in (conftest.ROOT / "docs/openapi.yaml").read_text()
    assert set(re.findall(r"\$\{(?:NATS_TAG|FAAS_VERSION):-(.*?)\}", (conftest.ROOT / "docker-compose.yml").read_text())) == {version}
