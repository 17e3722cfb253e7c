"""faas deploy -f: functions become what a stack file says."""
import contextlib
import http.server
import json
import os
import pathlib
import re
import subprocess
import threading

import pytest

import conftest
from support import Client, unique

ECHO, UPPER = "faas-examples/echo:latest", "faas-examples/upper:latest"
DOCUMENT = (conftest.ROOT / "docs/STACK.md").read_text()


class Stack:
    """A user of its own, and a stack file in a folder of its own."""

    def __init__(self, platform, folder):
        self.platform, self.client = platform, Client.new(platform.url)
        self.path = pathlib.Path(folder, "stack.yml")

    def write(self, text):
        self.path.write_text(text)

    def run(self, *args, env=None):
        return subprocess.run([self.platform.faas, *map(str, args)], text=True, capture_output=True, timeout=120, cwd=self.path.parent,
                              env={**self.platform.env, "FAAS_URL": self.platform.url, "FAAS_TOKEN": self.client.token, **(env or {})})

    def deploy(self, *more, status=0, env=None):
        done = self.run("deploy", "-f", "stack.yml", *more, env=env)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done

    def record(self, name):
        return self.client.get(f"/v1/functions/{name}").json

    def names(self):
        return sorted(r["name"] for r in self.client.get("/registry/list").json)

    def changes(self, *more, status):
        """(function, change, field, now, wanted) of a dry run."""
        doc = json.loads(self.deploy("--dry-run", "--json", *more, status=status).stdout)
        return [(f["name"], f["change"], c["field"], c["now"], c["wanted"]) for f in doc["functions"] for c in f["fields"] or [dict.fromkeys(("field", "now", "wanted"))]]


@pytest.fixture
def stack(platform, tmp_path):
    return Stack(platform, tmp_path)


def test_functions_become_what_the_file_says(stack):
    stack.write(f"stack: shop\nfunctions:\n  a:\n    image: {ECHO}\n    timeout_ms: 5000\n    environment: {{ONE: '1', TWO: hush-hush}}\n  b: {{image: '{UPPER}'}}\n")
    assert stack.changes(status=1) == [("a", "new", "image", None, ECHO), ("b", "new", "image", None, UPPER)]
    assert stack.names() == []
    made = stack.deploy()
    assert "created a: version 1\n" in made.stdout and "created b: version 1\n" in made.stdout and made.stdout.endswith("2 created\n"), made.stdout
    assert stack.client.call("b", "abc").body == b"ABC"
    again = stack.deploy()
    assert again.stdout.endswith("2 unchanged\n") and "unchanged a: version 1\n" in again.stdout, again.stdout
    assert stack.changes(status=0) == [("a", "unchanged", None, None, None), ("b", "unchanged", None, None, None)]

    stack.write(f"stack: shop\nfunctions:\n  a:\n    image: {UPPER}\n    limits: {{memory: 64Mi}}\n    environment: {{TWO: hush-again}}\n  b: {{image: '{UPPER}'}}\n")
    assert stack.changes(status=1) == [
        ("a", "changed", "image", ECHO, UPPER), ("a", "changed", "timeout_ms", 5000, 30000), ("a", "changed", "limits.memory_mb", 128, 64),
        ("a", "changed", "env.TWO", "set", "set"), ("a", "changed", "env.ONE", "set", None), ("b", "unchanged", None, None, None)]
    changed = stack.deploy()
    assert "updated a: version 2\n" in changed.stdout and "unchanged b: version 1\n" in changed.stdout, changed.stdout
    assert "hush" not in changed.stdout + changed.stderr
    record = stack.record("a")
    assert (record["timeout_ms"], record["env"], record["limits"]["memory_mb"]) == (30000, {"TWO": "hush-again"}, 64)
    assert record["labels"] == {"faas.stack": "shop"}
    assert stack.client.call("a", "abc").body == b"ABC"


def test_prune_removes_what_the_stack_made_and_nothing_else(stack):
    stack.client.register(ECHO, "by-hand")
    stack.client.register(ECHO, "labelled", labels={"faas.stack": "other"})
    stack.write(f"functions:\n  a: {{image: '{ECHO}'}}\n")
    assert "--stack NAME" in stack.deploy("--prune", status=2).stderr
    stack.write(f"stack: shop\nfunctions:\n  a: {{image: '{ECHO}'}}\n  b: {{image: '{ECHO}'}}\n")
    stack.deploy()
    stack.write(f"stack: shop\nfunctions:\n  a: {{image: '{ECHO}'}}\n")
    assert "--only" in stack.deploy("--prune", "--only", "a", status=2).stderr
    stack.deploy()
    assert stack.names() == ["a", "b", "by-hand", "labelled"]
    assert stack.changes("--prune", status=1)[-1] == ("b", "gone", None, None, None)
    assert stack.names() == ["a", "b", "by-hand", "labelled"]
    done = stack.deploy("--prune")
    assert "removed b\n" in done.stdout and done.stdout.endswith("1 unchanged, 1 removed\n"), done.stdout
    assert stack.names() == ["a", "by-hand", "labelled"]
    assert stack.deploy("--prune").stdout.endswith("1 unchanged\n")


def test_each_function_has_its_own_outcome(stack):
    stack.write(f"stack: shop\nfunctions:\n  old: {{image: '{ECHO}'}}\n")
    stack.deploy()
    stack.write(f"stack: shop\nfunctions:\n  bad:\n    image: {ECHO}\n    timeout_ms: 1\n  missing: {{image: '127.0.0.1:9/nothing:1'}}\n  good: {{image: '{ECHO}'}}\n")
    done = stack.deploy("--prune", status=1)
    assert re.search(r"^error: bad: .*timeout_ms", done.stderr, re.M) and re.search(r"^error: missing: ", done.stderr, re.M), done.stderr
    assert "created good: version 1\n" in done.stdout and "skipped old: not removed" in done.stdout, done.stdout
    assert done.stdout.endswith("1 created, 2 failed, 1 skipped\n"), done.stdout
    assert stack.names() == ["good", "old"]
    doc = json.loads(stack.deploy("--json", status=1).stdout)
    outcomes = {f["name"]: f["outcome"] for f in doc["functions"]}
    assert outcomes == {"bad": "failed", "missing": "failed", "good": "unchanged"} and doc["stack"] == "shop" and doc["warnings"] == []
    assert next(f for f in doc["functions"] if f["name"] == "bad")["error"]["code"] == "invalid_request"


def test_a_function_of_another_stack_is_left_alone(stack):
    stack.write(f"stack: one\nfunctions:\n  f: {{image: '{ECHO}'}}\n")
    stack.deploy()
    for more in ((), ("--stack", "two")):
        stack.write(f"functions:\n  f: {{image: '{UPPER}'}}\n")
        done = stack.deploy(*more, status=1)
        assert "belongs to the stack one" in done.stderr, done.stderr
        assert stack.deploy(*more, "--dry-run", status=2).stderr.startswith("error: f: ")
    assert stack.record("f")["payload"] == ECHO and stack.record("f")["version"] == 1


def test_only_takes_the_named_functions(stack):
    stack.write("functions:\n" + "".join(f"  {name}: {{image: '{ECHO}'}}\n" for name in "abc"))
    stack.deploy("--only", "a", "--only", "c")
    assert stack.names() == ["a", "c"]
    assert "--only d" in stack.deploy("--only", "d", status=2).stderr


def test_variables_come_from_the_environment(stack):
    stack.write("functions:\n  f:\n    image: faas-examples/${WHICH:-echo}:latest\n    description: ${SAY}\n")
    done = stack.deploy(env={"WHICH": "upper"})
    assert "warning: stack.yml:4:18: the variable SAY is not set" in done.stderr, done.stderr
    assert stack.record("f")["payload"] == UPPER
    stack.deploy(env={"SAY": "it's said: \"x\"\n- y"})
    assert (stack.record("f")["payload"], stack.record("f")["description"]) == (ECHO, "it's said: \"x\"\n- y")


def test_an_openfaas_file_is_read(stack):
    stack.write(f"""version: 1.0
provider:
  name: openfaas
  gateway: http://127.0.0.1:1
functions:
  f:
    lang: dockerfile
    handler: ./f
    image: {ECHO}
    environment: {{write_debug: true}}
    limits: {{memory: 40Mi, cpu: 500m}}
    requests: {{memory: 20Mi}}
    annotations: {{topic: x}}
""")
    done = stack.deploy()
    for place, name in (("4:3", "provider.gateway"), ("12:5", "requests"), ("13:5", "annotations")):
        assert f"warning: stack.yml:{place}: {name} has no meaning here" in done.stderr, done.stderr
    assert done.stderr.count("warning:") == 3
    record = stack.record("f")
    assert (record["env"], record["limits"]["memory_mb"], record["limits"]["cpus"]) == ({"write_debug": "true"}, 40, 0.5)


def test_secrets_are_named(stack):
    text = f"functions:\n  f:\n    image: {ECHO}\n    secrets: [api-key]\n"
    stack.write(text)
    assert "secret" in stack.deploy(status=1).stderr  # there is none of that name, or an engine cannot be given any
    if os.environ.get("FAAS_RUNTIME") != "native":
        return
    assert stack.client.post("/v1/secrets", {"name": "api-key", "value": "hush"}).status == 201
    stack.deploy()
    assert stack.record("f")["secrets"] == ["api-key"]
    stack.deploy("--dry-run")  # says by its status that nothing differs
    stack.write(text.replace("    secrets: [api-key]\n", ""))
    stack.deploy()
    assert stack.record("f")["secrets"] == []


def test_a_rebuilt_image_takes_effect(stack):
    image = f"faas-stack/{unique('r')}:latest"
    docker = {**os.environ, "DOCKER_HOST": stack.platform.docker_host}
    stack.write(f"functions:\n  f: {{image: '{image}'}}\n")
    try:
        for source, said, answer in ((ECHO, "created f: version 1\n", b"abc"), (UPPER, "rebuilt f: version 2, its image is a new one\n", b"ABC")):
            subprocess.run(["docker", "tag", source, image], env=docker, check=True)
            assert said in stack.deploy().stdout
            assert stack.client.call("f", "abc").body == answer
    finally:
        subprocess.run(["docker", "rmi", image], env=docker, check=True, capture_output=True)


def test_a_wrong_file_changes_nothing_and_says_where(stack):
    stack.write(f"functions:\n  a: {{image: '{ECHO}'}}\n  b:\n    image: {ECHO}\n    timeout_ms: '5'\n")
    done = stack.deploy(status=2)
    assert done.stderr.startswith("error: stack.yml:5:17: timeout_ms: expected a whole number"), done.stderr
    assert stack.names() == []
    for args, hint in ((("deploy",), "-f FILE"), (("deploy", "-f", "none.yml"), "none.yml: there is no such file"), (("deploy", "-f", "."), ".:"),
                       (("deploy", "f", "-f", "stack.yml"), "--only f"), (("deploy", "f", "--prune"), "-f FILE"), (("deploy", "-f"), "needs a value"),
                       (("deploy", "-f", "stack.yml", "--image", "x"), "write payload there")):
        wrong = stack.run(*args)
        assert wrong.returncode == 2 and hint in wrong.stderr, (args, wrong.returncode, wrong.stderr)


class Between(http.server.BaseHTTPRequestHandler):
    """Hands every request on to the platform; before one of `moment` somebody else's deed is done, once."""

    def handle_all(self):
        server = self.server
        if (self.command, self.path) == server.moment and server.deed:
            deed, server.deed = server.deed, None
            deed()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = server.client.request(self.command, self.path, body or None, headers={"Content-Type": "application/json"})
        self.send_response(answer.status)
        for name in ("Content-Type", "X-Call-Id"):
            if answer.headers[name]:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_all

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def between(stack, moment, deed):
    """FAAS_URL of such a server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Between) as server:
        server.client, server.moment, server.deed = stack.client, moment, deed
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
            assert server.deed is None, "the moment did not come"
        finally:
            server.shutdown()
            thread.join()


def change(stack, name, fields):
    made = stack.client.request("PATCH", f"/v1/functions/{name}", fields)
    assert made.status == 200, made.text


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(stack):
    stack.write(f"functions:\n  f: {{image: '{ECHO}'}}\n")
    stack.deploy()
    stack.write(f"functions:\n  f: {{image: '{ECHO}', timeout_ms: 5000}}\n")
    with between(stack, ("PATCH", "/v1/functions/f"), lambda: change(stack, "f", {"timeout_ms": 7000})) as url:
        done = stack.deploy(status=1, env={"FAAS_URL": url})
    assert "error: f: " in done.stderr and "conflict" in done.stderr, done.stderr
    assert stack.record("f")["timeout_ms"] == 7000
    stack.deploy()
    assert stack.record("f")["timeout_ms"] == 5000


def test_what_left_the_stack_meanwhile_is_not_removed(stack):
    stack.write(f"stack: shop\nfunctions:\n  a: {{image: '{ECHO}'}}\n  b: {{image: '{ECHO}'}}\n")
    stack.deploy()
    stack.write(f"stack: shop\nfunctions:\n  a: {{image: '{ECHO}'}}\n")
    with between(stack, ("GET", "/v1/functions/b"), lambda: change(stack, "b", {"labels": {}})) as url:
        done = stack.deploy("--prune", status=1, env={"FAAS_URL": url})
    assert "error: b: not removed: it no longer belongs to the stack shop" in done.stderr, done.stderr
    assert stack.names() == ["a", "b"]


def test_without_platform_or_login_it_ends_at_once(stack, tmp_path):
    stack.write("functions:\n" + "".join(f"  f{i}: {{image: '{ECHO}'}}\n" for i in range(50)))
    done = stack.run("deploy", "-f", "stack.yml", "--server", "http://127.0.0.1:1")
    assert done.returncode == 5 and done.stderr.count("error:") == 1, (done.returncode, done.stderr)
    done = stack.run("deploy", "-f", "stack.yml", env={"FAAS_TOKEN": "", "XDG_CONFIG_HOME": str(tmp_path)})
    assert done.returncode == 3 and "faas login" in done.stderr, (done.returncode, done.stderr)


def test_the_commands_of_the_document_run_as_printed(stack, tmp_path):
    example = re.search(r"```yaml\n(.*?)```", DOCUMENT, re.S)[1]
    deploy, new = re.findall(r"```sh\n(.*?)```", DOCUMENT, re.S)
    stack.write(example)
    env = {**stack.platform.env, "FAAS_URL": stack.platform.url, "FAAS_TOKEN": stack.client.token, "DOCKER_HOST": "unix:///nowhere",
           "XDG_DATA_HOME": str(tmp_path)}
    (tmp_path / "faas").symlink_to(stack.platform.data)  # where `faas build` packs by itself
    said = []
    for script in (deploy, new) if stack.platform.is_native else (deploy,):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script.replace("build/release/bin/faas", stack.platform.faas)], cwd=tmp_path, env=env, text=True,
                              capture_output=True, timeout=120)
        assert done.returncode == 0, (done.stdout, done.stderr)
        said.append(done.stdout)
    assert "created shout" in said[0] and "HELLO" in said[0] and "unchanged shout" in said[0], said[0]
    assert not stack.platform.is_native or said[1].endswith("Hello, world!\n"), said[1]


def test_the_document_has_every_field():
    """None of the rows of the table that reads them is missing."""
    source = (conftest.ROOT / "cli/stack_fields.c").read_text()
    for name in re.findall(r'\b(?:RULE|GROUP|UNUSED)\("([a-z_]+)"', source):
        assert f"`{name}`" in DOCUMENT, name
