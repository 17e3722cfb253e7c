"""Versions and aliases: which one a call runs, the way back, and functions that may not be called."""
import concurrent.futures
import hashlib
import io
import json
import subprocess
import tarfile
import threading
import time

import pytest

from support import unique, wait_until
from test_queued import ended, queue, result

FAIL = "faas-tests/fail:latest"


def patch(client, name, **fields):
    answer = client.request("PATCH", f"/v1/functions/{name}", fields)
    assert answer.status == 200, (answer.status, answer.text)
    return answer.json


def versions(client, count, **fields):
    """A function whose version N says N when it is asked for `env V`."""
    name = client.register(FAIL, env={"V": "1"}, **fields)
    for n in range(2, count + 1):
        assert patch(client, name, env={"V": str(n)})["version"] == n
    return name


def says(client, ref):
    answer = client.post(f"/function/{ref}", "env V")
    assert answer.status == 200, (ref, answer.status, answer.text)
    return answer.text


def alias(client, name, word, body):
    return client.put(f"/v1/functions/{name}/aliases/{word}", body)


def rollback(client, name, version):
    return client.post(f"/v1/functions/{name}/rollback", {"version": version})


def record(client, call):
    def look():
        answer = client.get(f"/v1/calls/{call}")
        return answer.json if answer.status == 200 and answer.json["status"] not in ("running", "queued") else None
    return wait_until(look, 20, f"the record of {call}")


@pytest.fixture(scope="module")
def three(client):
    name = versions(client, 3)
    assert alias(client, name, "live", {"version": 2}).json == {"alias": "live", "versions": {"2": 1}}
    return name


@pytest.mark.parametrize("pick, version", [("", 3), ("@1", 1), ("@2", 2), ("@3", 3), (":live", 2), (":latest", 3), ("%401", 1), ("%3Alive", 2)])
def test_every_door_calls_what_is_named(client, three, pick, version):
    plain = three + pick.replace("%40", "@").replace("%3A", ":")
    for answer in (client.post(f"/function/{three}{pick}", "env V"), client.call(plain, "env V"),
                   client.post(f"/function/{three}{pick}", "env V", headers={"Idempotency-Key": unique("k")})):
        assert (answer.status, answer.text) == (200, str(version)), (answer.status, answer.text)
        shown = record(client, answer.headers["X-Call-Id"])
        assert (shown["function"], shown["version"]) == (three, version), shown
    empty = client.get(f"/function/{three}{pick}")  # an argument it does not understand
    empty.problem(502, "function_failed")
    assert record(client, empty.headers["X-Call-Id"])["version"] == version
    call = queue(client, three + pick, "env V")
    state = ended(client, call)
    assert (state["status"], state["function"], state["version"]) == ("succeeded", three, version), state
    assert result(client, call).text == str(version)


@pytest.mark.parametrize("ref, status, part", [
    ("{}@", 400, "behind '@'"), ("{}@0", 400, "behind '@'"), ("{}@01", 400, "behind '@'"), ("{}@-1", 400, "behind '@'"), ("{}@x", 400, "behind '@'"),
    ("{}@2147483648", 400, "behind '@'"), ("{}@1@2", 400, "behind '@'"), ("{}:", 400, "alias: 1 to 63"), ("{}:1", 400, "not digits alone"),
    ("{}@1:x", 400, "not both"), ("{}:x@1", 400, "not both"), ("@1", 400, "name: 1 to 63"), ("{}:a b", 400, "alias: 1 to 63"),
    ("{}@4", 404, "no version 4"), ("{}@2147483647", 404, "no version"), ("{}:nobody", 404, 'no alias "nobody"'), ("missing@1", 404, "no function"),
    ("missing:live", 404, "no function"),
])
def test_other_references_are_refused_at_every_door(client, three, ref, status, part):
    ref, code = ref.format(three), {400: "invalid_request", 404: "not_found"}[status]
    in_path = ref.replace(" ", "%20")
    for answer in (client.post(f"/function/{in_path}", "env V"), client.call(ref, "env V"), client.post(f"/async-function/{in_path}", "env V")):
        assert part in answer.problem(status, code)["detail"], answer.text


def test_versions_of_others_are_not_there(client, other, three):
    for ref in (three, f"{three}@1", f"{three}:live"):
        other.call(ref, "x").problem(404, "not_found")
    alias(other, three, "live", {"version": 1}).problem(404, "not_found")
    rollback(other, three, 1).problem(404, "not_found")
    other.get(f"/v1/functions/{three}/aliases").problem(404, "not_found")
    other.delete(f"/v1/functions/{three}/aliases/live").problem(404, "not_found")
    other.request("PATCH", f"/v1/functions/{three}", {"disabled": True}).problem(404, "not_found")


def test_aliases_are_set_listed_shown_moved_and_removed(client):
    name = versions(client, 3)
    assert client.get(f"/v1/functions/{name}/aliases").json == {"items": [], "next_cursor": None}
    assert alias(client, name, "live", {"version": 1}).status == 200
    assert alias(client, name, "canary", {"versions": {"3": 10, "1": 90}}).json == {"alias": "canary", "versions": {"1": 90, "3": 10}}
    listed = client.get(f"/v1/functions/{name}/aliases").json["items"]
    assert listed == [{"alias": "live", "versions": {"1": 1}}, {"alias": "canary", "versions": {"1": 90, "3": 10}}]
    assert client.get(f"/v1/functions/{name}/aliases/canary").json == listed[1]
    shown = client.get(f"/v1/functions/{name}").json
    assert shown["aliases"] == {"live": {"1": 1}, "canary": {"1": 90, "3": 10}} and shown["version"] == 3 and shown["disabled"] is False
    assert says(client, f"{name}:live") == "1"
    assert alias(client, name, "live", {"version": 2}).status == 200
    assert says(client, f"{name}:live") == "2"
    for n in (1, 2, 3):  # a version bears neither
        version = client.get(f"/v1/functions/{name}/versions/{n}").json
        assert "aliases" not in version and "disabled" not in version, version
    assert all("aliases" not in item for item in client.get(f"/v1/functions/{name}/versions").json["items"])
    assert client.put(f"/v1/functions/{name}", {"payload": FAIL, "env": {"V": "4"}}).status == 200
    assert says(client, f"{name}:live") == "2" and says(client, f"{name}:latest") == "4"
    assert client.delete(f"/v1/functions/{name}/aliases/live").status == 204
    client.post(f"/function/{name}:live", "env V").problem(404, "not_found")
    client.delete(f"/v1/functions/{name}/aliases/live").problem(404, "not_found")
    client.get(f"/v1/functions/{name}/aliases/live").problem(404, "not_found")
    assert client.delete("/registry/delete", {"name": name}).status == 204
    client.post(f"/function/{name}@1", "env V").problem(404, "not_found")
    client.register(FAIL, name, env={"V": "again"})
    client.post(f"/function/{name}@2", "env V").problem(404, "not_found")  # another function: the old one's versions are not its own
    assert says(client, f"{name}@1") == "again"


@pytest.mark.parametrize("word, body, status, part", [
    ("bad", {}, 400, "version, versions"), ("bad", {"version": 1, "versions": {"1": 1}}, 400, "version, versions"), ("bad", {"version": 0}, 400, "1 to 2147483647"),
    ("bad", {"version": "1"}, 400, "integer"), ("bad", {"version": 9}, 404, "no version 9"), ("bad", {"versions": {"1": 1, "9": 1}}, 404, "no version 9"),
    ("bad", {"versions": {}}, 400, "1 to 8 versions"), ("bad", {"versions": {"1": 0}}, 400, "a weight"), ("bad", {"versions": {"1": -1}}, 400, "a weight"),
    ("bad", {"versions": {"1": 0.5}}, 400, "a weight"), ("bad", {"versions": {"1": 1000001}}, 400, "a weight"), ("bad", {"versions": {"1": 10**30}}, 400, ""),
    ("bad", {"versions": {"01": 1}}, 400, "a version"), ("bad", {"versions": {"latest": 1}}, 400, "a version"), ("bad", {"weight": 1}, 400, "unknown field"),
    ("bad", {"versions": {str(n): 1 for n in range(1, 10)}}, 400, "1 to 8 versions"), ("latest", {"version": 1}, 400, "newest"), ("12", {"version": 1}, 400, "not digits alone"),
    ("a.b", {"version": 1}, 400, "alias: 1 to 63"), ("x" * 64, {"version": 1}, 400, "alias: 1 to 63"), ("a%40b", {"version": 1}, 400, "alias: 1 to 63"),
])
def test_bad_aliases_are_refused_and_nothing_is_stored(client, three, word, body, status, part):
    before = client.get(f"/v1/functions/{three}").json
    assert part in alias(client, three, word, body).problem(status, {400: "invalid_request", 404: "not_found"}[status])["detail"]
    assert client.get(f"/v1/functions/{three}").json == before


def test_weights_spread_the_calls(client, three):
    """Of 100 calls 75 are expected at one version: all, or no more than half of them, come once in ten million runs.  How they spread exactly is test_alias.c's to say."""
    assert alias(client, three, "mix", {"versions": {"1": 3, "3": 1}}).status == 200
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda _: says(client, f"{three}:mix"), range(100)))
    assert set(said) == {"1", "3"} and said.count("1") > 50, said.count("1")


def test_rolling_back_makes_a_new_version_of_the_old_content(client):
    name = versions(client, 3, limits={"memory_mb": 64})
    old = client.get(f"/v1/functions/{name}/versions/1").json
    alias(client, name, "live", {"version": 2})
    back = rollback(client, name, 1)
    assert back.status == 200, back.text
    same = ("id", "uuid", "name", "payload", "digest", "created_at", "env", "limits", "timeout_ms", "isolation")
    assert back.json["version"] == 4 and [back.json[k] for k in same] == [old[k] for k in same], back.json
    assert back.json["aliases"] == {"live": {"2": 1}} and back.json["updated_at"] > old["updated_at"]
    assert (says(client, name), says(client, f"{name}@4"), says(client, f"{name}@3"), says(client, f"{name}:live")) == ("1", "1", "3", "2")
    assert rollback(client, name, 4).json["version"] == 4  # it is that one already
    for n in (5, 2147483647):
        assert f"no version {n}" in rollback(client, name, n).problem(404, "not_found")["detail"]
    for body in ({}, {"version": 0}, {"version": "1"}, {"version": 1.5}, {"version": None}, {"version": 1, "to": 2}):
        client.post(f"/v1/functions/{name}/rollback", body).problem(400, "invalid_request")
    rollback(client, unique("missing"), 1).problem(404, "not_found")


def test_a_disabled_function_is_refused_until_it_is_enabled(client):
    name = versions(client, 2)
    alias(client, name, "live", {"version": 1})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.post, f"/function/{name}", "sleep 1500")
        wait_until(lambda: any(c["status"] == "running" for c in client.get(f"/v1/calls?function={name}").json["items"]), 20, "the call runs")
        assert patch(client, name, disabled=True)["disabled"] is True
        for answer in (client.call(name, "env V"), client.post(f"/function/{name}@1", "env V"), client.post(f"/function/{name}:live", "env V"),
                       client.post(f"/async-function/{name}", "env V")):
            assert f"faas enable {name}" in answer.problem(409, "conflict")["detail"], answer.text
        assert (running.result().status, running.result().text) == (200, "slept")
    shown = client.get(f"/v1/functions/{name}").json
    assert shown["disabled"] is True and shown["version"] == 2
    assert patch(client, name, env={"V": "3"})["disabled"] is True  # other changes leave it so
    client.call(name, "env V").problem(409, "conflict")
    assert patch(client, name, disabled=False)["version"] == 3
    assert says(client, name) == "3" and says(client, f"{name}:live") == "1"
    assert "expected boolean" in client.request("PATCH", f"/v1/functions/{name}", {"disabled": 1}).problem(400, "invalid_request")["detail"]


def test_queued_calls_wait_while_their_function_is_disabled(client):
    name = versions(client, 1, concurrency=1)
    first = queue(client, name, "sleep 1000")
    waiting = [queue(client, name, "env V") for _ in range(3)]
    patch(client, name, disabled=True)
    assert ended(client, first)["status"] == "succeeded"
    probe = client.register(FAIL, env={"V": "probe"})  # what was queued after them runs
    assert ended(client, queue(client, probe, "env V"))["status"] == "succeeded"
    assert [client.get(f"/v1/calls/{call}?wait=0").json["status"] for call in waiting] == ["queued"] * 3
    patch(client, name, disabled=False)
    for call in waiting:
        assert ended(client, call)["status"] == "succeeded" and result(client, call).text == "1"


def test_a_queued_call_keeps_its_version_and_its_letter_what_was_called(client):
    name = versions(client, 1, concurrency=1, retry={"idempotent": True, "attempts": 1})
    alias(client, name, "live", {"version": 1})
    held = queue(client, name, "sleep 1500")
    calls = [queue(client, name + pick, "env V") for pick in ("", "@1", ":live")]
    letters = [queue(client, name + pick, "exit 3 " + pick) for pick in ("", "@1", ":live")]
    patch(client, name, env={"V": "2"})
    alias(client, name, "live", {"version": 2})
    for call in (held, *calls):
        assert ended(client, call)["version"] == 1
    assert [result(client, call).text for call in calls] == ["1"] * 3
    for call, version in zip(letters, (2, 1, 2)):
        assert ended(client, call)["status"] == "dead"
        again = client.post(f"/v1/dead-letters/{call}/redrive")
        assert again.status == 202, again.text
        assert ended(client, again.json["call_id"])["version"] == version


def test_the_functions_cap_counts_calls_of_all_its_versions(client):
    name = versions(client, 1, concurrency=1)
    patch(client, name, env={"V": "2"}, concurrency=2)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = [pool.submit(client.post, f"/function/{name}{pick}", "sleep 3000") for pick in ("@1", "@1")]
        wait_until(lambda: [c["status"] for c in client.get(f"/v1/calls?function={name}").json["items"]].count("running") == 2, 20, "both run")
        for pick in ("", "@1", ":latest"):
            client.post(f"/function/{name}{pick}", "env V").problem(429, "busy")
        assert [r.result().status for r in running] == [200, 200]


class Load:
    """Threads that call until they are told to stop; keeps (sent, answered, pick, answer)."""

    def __init__(self, client, name, picks, argument="env V"):
        self.client, self.name, self.picks, self.argument = client, name, picks, argument
        self.stop, self.made = threading.Event(), []

    def __enter__(self):
        self.threads = [threading.Thread(target=self.run, args=(pick,)) for pick in self.picks]
        for thread in self.threads:
            thread.start()
        return self

    def run(self, pick):
        while not self.stop.is_set():
            sent = time.monotonic()
            answer = self.client.post(f"/function/{self.name}{pick}", self.argument)
            self.made.append((sent, time.monotonic(), pick, answer))

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def test_changes_under_load_drop_no_call_and_none_runs_a_version_it_may_not(client):
    """Updates, aliases and rollbacks follow each other while calls are made.  A call runs what was the newest, or the alias's, at some instant between its sending and its answer."""
    name = versions(client, 2)
    alias(client, name, "live", {"version": 1})
    newest, live = [(0.0, 0.0, "2")], [(0.0, 0.0, "1")]  # when the change began, when it was confirmed, what is said from then on

    def change(history, said, do):
        begun = time.monotonic()
        answer = do()
        assert answer.status == 200, (answer.status, answer.text)
        history.append((begun, time.monotonic(), said))
        made = len(load.made)
        wait_until(lambda: len(load.made) > made + 1, 60, "calls go on")

    with Load(client, name, ["", "@1", ":live", ":latest"]) as load:
        for said in map(str, range(10, 22)):
            change(newest, said, lambda: client.request("PATCH", f"/v1/functions/{name}", {"env": {"V": said}}))
            number = client.get(f"/v1/functions/{name}").json["version"]
            change(live, said, lambda: alias(client, name, "live", {"version": number}))
            change(newest, "1", lambda: rollback(client, name, 1))
            change(live, "1", lambda: alias(client, name, "live", {"version": 1}))
    for sent, answered, pick, answer in load.made:
        history = {"@1": [(0.0, 0.0, "1")], ":live": live}.get(pick, newest)
        ends = [confirmed for _, confirmed, _ in history[1:]] + [answered]
        may_say = {said for (begun, _, said), end in zip(history, ends) if begun <= answered and end >= sent}
        assert answer.status == 200 and answer.text in may_say, (pick, answer.status, answer.text, may_say)


def test_a_call_that_runs_ends_with_its_version_whatever_becomes_of_the_function(client):
    name = versions(client, 1)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        running = [pool.submit(client.post, f"/function/{name}{pick}", "sleep 2000") for pick in ("", "@1", ":latest")]
        wait_until(lambda: [c["status"] for c in client.get(f"/v1/calls?function={name}").json["items"]].count("running") == 3, 20, "all run")
        patch(client, name, env={"V": "2"})
        assert rollback(client, name, 1).status == 200
        assert client.delete("/registry/delete", {"name": name}).status == 204
        answers = [r.result() for r in running]
    for answer in answers:
        assert (answer.status, answer.text) == (200, "slept")
        assert record(client, answer.headers["X-Call-Id"])["version"] == 1


def test_deleting_under_load_ends_in_404_alone(client):
    name = versions(client, 2)
    alias(client, name, "live", {"versions": {"1": 1, "2": 1}})
    with Load(client, name, ["", "@1", ":live"], "sleep 50") as load:
        wait_until(lambda: len(load.made) > 20, 30, "calls are made")
        begun = time.monotonic()
        assert client.delete("/registry/delete", {"name": name}).status == 204
        gone = time.monotonic()
        wait_until(lambda: sum(sent > gone for sent, *_ in load.made) > 5, 30, "calls are made after it")
    for sent, answered, _, answer in load.made:
        if answer.status == 404:
            answer.problem(404, "not_found")
            assert answered > begun
        else:
            assert (answer.status, answer.text) == (200, "slept") and sent < gone, (answer.status, answer.text)


def foreign_archive(name):
    """What `docker save` writes of an image for a mainframe."""
    def add(tar, path, data):
        info = tarfile.TarInfo(path)
        info.size, info.mode = len(data), 0o755
        tar.addfile(info, io.BytesIO(data))

    layer, archive = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        add(tar, "program", b"program")
    config = json.dumps({"architecture": "s390x", "os": "linux", "config": {"Entrypoint": ["/program"]},
                         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()]}}).encode()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        add(tar, "config.json", config)
        add(tar, "layer.tar", layer.getvalue())
        add(tar, "manifest.json", json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode())
    return archive.getvalue()


def test_an_image_for_another_processor_is_refused_at_registration(platform, other):
    """One of an engine, in which both runtimes look."""
    name = unique("faas-tests/foreign") + ":latest"
    subprocess.run(["docker", "load"], env=platform.env, input=foreign_archive(name), check=True, capture_output=True)
    doc = other.post("/v1/functions", {"name": "foreign", "payload": name}).problem(422, "unprocessable")
    assert "s390x" in doc["detail"] and "this machine" in doc["detail"], doc
    other.get("/v1/functions/foreign").problem(404, "not_found")


def test_the_command_line(platform, tmp_path):
    env = {**platform.env, "XDG_CONFIG_HOME": str(tmp_path)}
    user, secret = unique("cli"), "a long enough password"

    def faas(*args, **more):
        return subprocess.run([platform.faas, *args], env={**env, "FAAS_URL": platform.url}, text=True, capture_output=True, timeout=60, **more)

    def out(*args, **more):
        done = faas(*args, **more)
        assert done.returncode == 0, (args, done.returncode, done.stdout, done.stderr)
        return done.stdout

    out("register", user, "--password-stdin", input=secret + "\n")
    out("login", user, "--password-stdin", input=secret + "\n")
    for n in "123":
        out("deploy", "f", "--image", FAIL, "--env", f"V={n}")
    assert [line.split()[0] for line in out("versions", "f").splitlines()] == ["VERSION", "3", "2", "1"]
    assert [item["version"] for item in json.loads(out("versions", "f", "--json"))] == [3, 2, 1]
    assert out("alias", "set", "f", "live", "2") == "f:live is version 2\n"
    assert out("alias", "set", "f", "canary", "3=10", "1=90") == "f:canary is 1=90 3=10\n"
    assert [line.split() for line in out("alias", "list", "f").splitlines()] == [["ALIAS", "VERSIONS"], ["live", "2"], ["canary", "1=90", "3=10"]]
    assert json.loads(out("alias", "list", "f", "--json"))[0] == {"alias": "live", "versions": {"2": 1}}
    assert [out("invoke", ref, "env V") for ref in ("f", "f@1", "f:live", "f:latest")] == ["3", "1", "2", "3"]
    assert "aliases.live" in out("describe", "f")
    assert out("rollback", "f").startswith("f: version 4 is what version 2 was") and out("invoke", "f", "env V") == "2"
    assert json.loads(out("rollback", "f", "--to", "1", "--json"))["version"] == 5 and out("invoke", "f", "env V") == "1"
    assert out("disable", "f") == "disabled f: calls are refused, queued ones wait\n"
    refused = faas("invoke", "f", "env V")
    assert refused.returncode == 2 and "faas enable f" in refused.stderr, (refused.returncode, refused.stderr)
    assert out("enable", "f") == "enabled f\n" and out("invoke", "f", "env V") == "1"
    assert out("alias", "remove", "f", "live") == "removed f:live\n"
    for args, status, part in ((("alias", "remove", "f", "live"), 4, "no alias"), (("invoke", "f:live"), 4, "no alias"), (("invoke", "f@9"), 4, "no version 9"),
                               (("rollback", "f", "--to", "9"), 4, "no version 9"), (("rollback", "f", "--to", "0"), 2, "--to"), (("alias", "set", "f", "x"), 2, "VERSION"),
                               (("alias", "set", "f", "x", "one"), 2, "N=WEIGHT"), (("alias", "set", "f", "x", "1=0"), 2, "weight"), (("alias", "set", "f", "x", "1=-1"), 2, "WEIGHT"),
                               (("alias", "set", "f", "x", "1=1", "1=2"), 2, "twice"), (("alias", "set", "f", "latest", "1"), 2, "newest"), (("invoke", "f@"), 2, "behind '@'"),
                               (("versions", "nobody"), 4, "no function"), (("alias",), 2, "usage")):
        done = faas(*args, input="")
        assert done.returncode == status and part in done.stderr, (args, done.returncode, done.stderr)
    out("deploy", "g", "--image", FAIL)
    alone = faas("rollback", "g")
    assert alone.returncode == 2 and "none before it" in alone.stderr, (alone.returncode, alone.stderr)
