"""OpenFaaS's clients: the requests that faas-cli sends, with an API key as the password, and what it takes from the answers."""
import base64
import json
import pathlib
import re
import urllib.parse

import pytest

import conftest
from support import Client, unique, wait_until


class FaasCli:
    """What faas-cli sends: basic auth, JSON with the fields it has, omitted where they are empty."""

    def __init__(self, url, key, user="admin"):
        self.client = Client(url)
        self.auth = {"Authorization": "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode(), "User-Agent": "faas-cli/0.16.0"}

    def send(self, method, path, body=None, kind="application/json"):
        headers = {**self.auth, "Content-Type": kind} if body is not None else self.auth
        return self.client.request(method, path, body, headers=headers)

    def deploy(self, **fields):
        """As `faas-cli deploy` does: an update, and where there is nothing to update a creation."""
        answer = self.send("PUT", "/system/functions", fields)
        return answer if answer.status != 404 else self.send("POST", "/system/functions", fields)


def key_of(client, *verbs, **more):
    made = client.post("/auth/keys", {"name": unique("k"), "verbs": list(verbs) or ["*"], **more})
    assert made.status == 201, made.text
    return made.json["key"]


@pytest.fixture(scope="module")
def cli(platform):
    me = Client.new(platform.url)
    made = FaasCli(platform.url, key_of(me))
    made.me = me
    return made


def test_login_version_and_an_empty_list(cli):
    assert cli.send("GET", "/system/functions").json == []  # what `faas-cli login` looks at
    info = cli.send("GET", "/system/info").json
    assert info["provider"]["provider"] == "faas" and info["version"]["release"] == info["provider"]["version"]["release"] != ""
    assert cli.send("GET", "/system/secrets").json == []
    for user, password, status in (("admin", "wrong", 401), ("", "faas_0011223344556677_" + "0" * 48, 401)):
        assert FaasCli(cli.me.url.geturl(), password, user).send("GET", "/system/functions").status == status
    assert cli.client.get("/system/functions").status == 401


def test_a_function_from_deploy_to_remove(cli, platform):
    fields = {"service": "shout", "image": "faas-examples/upper:latest", "envProcess": "", "envVars": {"GREETING": "hi"}, "labels": {"team": "front"},
              "annotations": {"topic": "none", "faas.timeout_ms": "7000"}, "limits": {"memory": "64Mi", "cpu": "500m"}, "requests": {"memory": "8Mi"},
              "readOnlyRootFilesystem": True}
    first = cli.deploy(**fields)
    assert first.status == 202 and first.body == b"", first.text
    shown = cli.send("GET", "/system/function/shout").json
    assert shown["name"] == "shout" and shown["image"] == fields["image"] and shown["availableReplicas"] == shown["replicas"] == 1, shown
    assert shown["envVars"] == fields["envVars"] and shown["labels"] == fields["labels"] and shown["limits"] == fields["limits"], shown
    assert shown["annotations"]["faas.timeout_ms"] == "7000" and re.fullmatch(r"20\d\d-.*Z", shown["createdAt"]), shown
    assert [f["name"] for f in cli.send("GET", "/system/functions?namespace=openfaas-fn").json] == ["shout"]
    record = cli.me.get("/v1/functions/shout").json  # the same function by the platform's own words
    assert record["limits"]["memory_mb"] == 64 and record["limits"]["cpus"] == 0.5 and record["timeout_ms"] == 7000, record
    answer = cli.send("POST", "/function/shout", "abc", "text/plain")
    assert answer.status == 200 and answer.text == "ABC"
    queued = cli.send("POST", "/async-function/shout", "later", "text/plain")
    assert queued.status == 202 and queued.headers["X-Call-Id"]
    # an update says all: what it leaves out is at its default again
    again = cli.deploy(service="shout", image="faas-examples/upper:latest")
    assert again.status == 200, again.text
    record = cli.me.get("/v1/functions/shout").json
    assert record["version"] == 2 and record["env"] == {} and record["timeout_ms"] == 30000, record
    assert cli.send("POST", "/system/functions", {"service": "shout", "image": "faas-examples/upper:latest"}).status == 409
    assert cli.send("POST", "/system/scale-function/shout", {"serviceName": "shout", "replicas": 5}).status == 202
    assert cli.me.put("/registry/update", {"name": "shout", "disabled": True}).status == 200
    assert cli.send("GET", "/system/function/shout").json["availableReplicas"] == 0
    gone = cli.send("DELETE", "/system/functions?namespace=openfaas-fn", {"functionName": "shout"})
    assert gone.status == 202, gone.text
    for method, path, body in (("GET", "/system/function/shout", None), ("DELETE", "/system/functions", {"functionName": "shout"}),
                               ("POST", "/system/scale-function/shout", {"serviceName": "shout", "replicas": 0}),
                               ("PUT", "/system/functions", {"service": "shout", "image": "faas-examples/upper:latest"})):
        cli.send(method, path, body).problem(404, "not_found")


def test_logs_are_lines_of_standard_error(cli, platform):
    assert cli.send("GET", "/system/namespaces").json == ["openfaas-fn"]
    me, name = cli.me, unique("talks")
    assert cli.deploy(service=name, image="faas-tests/sh:latest").status == 202

    def read(**query):
        answer = cli.send("GET", "/system/logs?" + urllib.parse.urlencode({"name": name, **query}))
        assert answer.status == 200 and answer.headers["Content-Type"] == "application/x-ndjson", answer.text
        return [json.loads(line) for line in answer.text.splitlines()]
    assert read() == []
    calls = [me.call(name, script).headers["X-Call-Id"] for script in ("echo out; echo one >&2; echo >&2; printf two >&2", "true", "printf 'bad \\377 \\033[1m\\n' >&2; exit 3")]
    wait_until(lambda: {r["id"] for r in me.get(f"/v1/calls?function={name}").json["items"] if r["status"] in ("succeeded", "failed")} == set(calls), 10, "the records")
    lines = read()
    assert [(line["instance"], line["text"]) for line in lines] == [(calls[0], "one"), (calls[0], ""), (calls[0], "two"), (calls[2], "bad \ufffd \x1b[1m")], lines
    assert all(set(line) == {"name", "instance", "timestamp", "text"} and line["name"] == name and line["timestamp"].endswith("Z") for line in lines)
    assert read(tail=2, follow="true") == lines[2:] and read(tail=-1, namespace="openfaas-fn") == lines
    assert read(since=lines[3]["timestamp"]) == lines[3:] and read(instance=calls[0], tail=2) == lines[1:3]
    other = FaasCli(platform.url, key_of(Client.new(platform.url)))
    for path, status, code in ((f"name={name}", 404, "not_found"), (f"name={name}&instance={calls[0]}", 404, "not_found")):
        other.send("GET", f"/system/logs?{path}").problem(status, code)
    for query, status, code in (("", 400, "invalid_request"), (f"name={name}&tail=x", 400, "invalid_request"), (f"name={name}&since=today", 400, "invalid_request"),
                                (f"name={name}&instance=1", 400, "invalid_request"), ("name=nothing", 404, "not_found"), (f"name={name}&namespace=dev", 422, "unprocessable")):
        cli.send("GET", f"/system/logs?{query}").problem(status, code)
    FaasCli(platform.url, key_of(me, "invoke")).send("GET", f"/system/logs?name={name}").problem(403, "denied")
    assert FaasCli(platform.url, key_of(me, "read", functions=[name])).send("GET", f"/system/logs?name={name}").status == 200
    FaasCli(platform.url, key_of(me, "read", functions=["another"])).send("GET", f"/system/logs?name={name}").problem(403, "denied")
    assert cli.send("DELETE", "/system/functions", {"functionName": name}).status == 202
    assert read() == lines  # calls that were are still known


def test_what_cannot_be_had_is_said(cli):
    base = {"service": "no", "image": "faas-examples/upper:latest"}
    for more, status, code, part in (({"constraints": ["gpu=1"]}, 422, "unprocessable", "constraints"), ({"namespace": "dev"}, 422, "unprocessable", "namespace"),
                                     ({"limits": {"memory": "lots"}}, 400, "invalid_request", "limits.memory"), ({"service": ""}, 400, "invalid_request", "name"),
                                     ({"image": "faas-examples/absent:latest"}, 422, "unprocessable", "absent"), ({"secrets": ["absent"]}, 422, "unprocessable", "secrets")):
        assert part in cli.deploy(**{**base, **more}).problem(status, code)["detail"]
    assert cli.send("GET", "/system/functions?namespace=dev").status == 422
    assert cli.send("GET", "/system/functions").json == []


def test_secrets(cli, platform):
    assert cli.send("POST", "/system/secrets", {"name": "db", "value": "v1", "rawValue": base64.b64encode(b"v1").decode()}).status == 201
    assert cli.send("PUT", "/system/secrets", {"name": "db", "value": "v2"}).status == 200
    listed = cli.send("GET", "/system/secrets")
    assert listed.json == [{"name": "db"}] and "v2" not in listed.text
    if platform.is_native:
        deployed = cli.deploy(service="reads", image="faas-examples/echo:latest", secrets=["db"])
        assert deployed.status == 202, deployed.text
        assert cli.send("GET", "/system/function/reads").json["secrets"] == ["db"]
        assert "reads" in cli.send("DELETE", "/system/secrets", {"name": "db"}).problem(409, "conflict")["detail"]
        assert cli.send("DELETE", "/system/functions", {"functionName": "reads"}).status == 202
    assert cli.send("DELETE", "/system/secrets", {"name": "db"}).status == 202
    cli.send("DELETE", "/system/secrets", {"name": "db"}).problem(404, "not_found")


def test_a_key_does_no_more_here_than_elsewhere(cli):
    url = cli.me.url.geturl()
    reads, some = FaasCli(url, key_of(cli.me, "read")), FaasCli(url, key_of(cli.me, "deploy", functions=["ci-*"]))
    fields = {"service": "ci-a", "image": "faas-examples/echo:latest"}
    assert reads.send("GET", "/system/functions").status == 200
    for method, path, body in (("POST", "/system/functions", fields), ("PUT", "/system/functions", fields), ("DELETE", "/system/functions", {"functionName": "ci-a"}),
                               ("POST", "/system/secrets", {"name": "s", "value": "v"}), ("POST", "/system/scale-function/ci-a", {"replicas": 1})):
        assert "verb deploy" in reads.send(method, path, body).problem(403, "denied")["detail"]
    assert some.deploy(**fields).status == 202
    for body in ({**fields, "service": "other"}, {**fields, "secrets": ["s"]}):
        some.send("POST", "/system/functions", body).problem(403, "denied")
    some.send("DELETE", "/system/functions", {"functionName": "other"}).problem(403, "denied")
    some.send("POST", "/system/secrets", {"name": "s", "value": "v"}).problem(403, "denied")
    some.send("GET", "/system/functions").problem(403, "denied")
    assert some.send("DELETE", "/system/functions", {"functionName": "ci-a"}).status == 202


def test_the_page_names_every_path():
    page = pathlib.Path(conftest.ROOT, "docs/OPENFAAS.md").read_text()
    for path in re.findall(r"^  (/system/\S+):$", pathlib.Path(conftest.ROOT, "docs/openapi.yaml").read_text(), re.M):
        assert path.replace("{name}", "NAME") in page, path
