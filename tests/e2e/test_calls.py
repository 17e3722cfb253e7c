"""Records of calls: each is listed and found, by its user alone; none that is older than a moment is lost with its publisher."""
import concurrent.futures
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import time
import urllib.parse

import pytest

from support import Client, wait_until

FINISHED = ("succeeded", "failed", "refused", "cancelled", "lost")


@pytest.fixture(scope="module")
def user(platform):
    """Of this file alone, so that its calls are all there are."""
    made = Client.new(platform.url)
    made.register("faas-tests/fail:latest", "fail")
    made.register("faas-examples/echo:latest", "echo")
    return made


def record(user, call_id):
    answer = user.get(f"/v1/calls/{call_id}")
    return answer.json if answer.status == 200 else None


def finished(user, call_id):
    """The record of a call that was answered."""
    wait_until(lambda: (record(user, call_id) or {}).get("status") in FINISHED, 10, f"the record of {call_id} says how it ended")
    return record(user, call_id)


def listed(user, **query):
    answer = user.get("/v1/calls?" + urllib.parse.urlencode(query))
    assert answer.status == 200, answer.text
    return answer.json["items"]


def test_a_call_that_was_just_answered_is_found(user):
    answer = user.request("POST", "/function/echo", "twelve bytes", {"X-Call-Id": "my label"})
    assert answer.status == 200
    got = user.get(f"/v1/calls/{answer.headers['X-Call-Id']}")
    assert got.status == 200, got.text
    doc = finished(user, answer.headers["X-Call-Id"])
    assert (doc["status"], doc["code"], doc["exit_code"]) == ("succeeded", "ok", 0)
    assert (doc["function"], doc["version"], doc["client_call_id"]) == ("echo", 1, "my label")
    assert (doc["argument_bytes"], doc["result_bytes"], doc["stderr_bytes"]) == (12, 12, 0)
    assert doc["start"] == answer.headers["X-Start"] and doc["spawner"] == answer.headers["X-Served-By"]
    assert doc["attempt"] == 1 and doc["tries"] >= 1 and len(doc["result_hash"]) == 32
    assert doc["queued_at"] <= doc["placed_at"] <= doc["ended_at"] and doc["times_ms"]["run"] > 0
    assert not {"tenant", "user", "order", "until", "log", "publisher_epoch"} & set(doc)


def test_a_failed_call_keeps_its_code_and_what_it_wrote(user):
    answer = user.call("fail", "stderr 100000")
    call_id = answer.headers["X-Call-Id"]
    doc = finished(user, call_id)
    assert doc["stderr_bytes"] == 100000 and doc["log_bytes"] == 65536
    logs = user.get(f"/v1/calls/{call_id}/logs")
    assert logs.status == 200 and len(logs.body) == 65536
    assert logs.headers["Content-Type"].startswith("text/plain") and logs.headers["X-Content-Type-Options"] == "nosniff"
    answer = user.call("fail", "exit 7")
    doc = finished(user, answer.headers["X-Call-Id"])
    assert (doc["status"], doc["code"], doc["exit_code"]) == ("failed", "function_failed", 7)
    assert user.get(f"/v1/calls/{answer.headers['X-Call-Id']}/logs").body == b""


def test_a_call_shows_while_it_runs(user):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(user.call, "fail", "sleep 3000")
        wait_until(lambda: listed(user, status="running", function="fail"), 10, "the call is listed as running")
        shown = listed(user, status="running")[0]
        assert "ended_at" not in shown and shown["spawner"]
        assert call.result().status == 200
    assert finished(user, shown["id"])["status"] == "succeeded"
    assert listed(user, status="running") == []


def test_lists_are_filtered_and_paged(user):
    ids = [user.call("echo", str(n)).headers["X-Call-Id"] for n in range(7)]
    wait_until(lambda: {i["id"] for i in listed(user, function="echo", status="succeeded")} >= set(ids), 10, "all are listed")
    seen, cursor = [], None
    while True:
        query = {"function": "echo", "limit": 3, **({"cursor": cursor} if cursor else {})}
        page = user.get("/v1/calls?" + urllib.parse.urlencode(query)).json
        assert len(page["items"]) <= 3
        seen += [i["id"] for i in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(seen, reverse=True) and len(set(seen)) == len(seen) and seen[:7] == ids[::-1]
    came = record(user, ids[3])["queued_at"]
    assert ids[0] not in {i["id"] for i in listed(user, since=came, limit=200)}
    assert ids[6] not in {i["id"] for i in listed(user, until=came, limit=200)}
    assert all(i["status"] == "failed" for i in listed(user, status="failed"))


def test_parameters_are_checked_and_named(user):
    for query, field in {"limit=0": "limit", "limit=201": "limit", "limit=a": "limit", "status=done": "status", "since=now": "since",
                         "until=2026-02-30T00:00:00Z": "until", "cursor=x": "cursor", "function=a%20b": "function", "colour=red": "colour",
                         "since=2027-01-01T00:00:00Z&until=2026-01-01T00:00:00Z": "until", "limit=1&limit=2": "limit", "status=": "status"}.items():
        doc = user.get(f"/v1/calls?{query}").problem(400, "invalid_request")
        assert doc["detail"].startswith(field), (query, doc)
    for path in ("/v1/calls/1", "/v1/calls/%2e%2e", "/v1/calls/0190A000-0000-7000-8000-000000000001", "/v1/calls/x/logs"):
        assert user.get(path).problem(400, "invalid_request")["detail"].startswith("id"), path
    user.get("/v1/calls/0190a000-0000-7000-8000-000000000001").problem(404, "not_found")
    assert user.post("/v1/calls", {}).status == 405


def test_another_users_call_is_not_there(platform, user, promise):
    other = Client.new(platform.url)
    call_id = user.call("fail", "stderr 10").headers["X-Call-Id"]
    finished(user, call_id)
    other.get(f"/v1/calls/{call_id}").problem(404, "not_found")
    other.get(f"/v1/calls/{call_id}/logs").problem(404, "not_found")
    assert listed(other) == [] and listed(other, function="fail") == []
    assert Client(platform.url).get(f"/v1/calls/{call_id}").status == 401
    doc = other.get(f"/v1/calls?uuid={user.id}").problem(403, "denied")
    assert "uuid" in doc["detail"]
    promise(4, "0 of another user's calls and logs found, listed or counted")


def test_no_record_dies_with_a_publisher(platform, user):
    """All publishers are killed while calls flow: whatever was answered 100 ms before has its record; a call that ran on is told of by its spawner."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = pool.submit(user.call, "fail", "sleep 4000")
        wait_until(lambda: listed(user, status="running", function="fail"), 10, "a call runs")
        open_id = listed(user, status="running")[0]["id"]
        ids = [a.headers["X-Call-Id"] for a in pool.map(lambda n: user.call("echo", str(n)), range(40))]
        answered = time.monotonic()
        wait_until(lambda: time.monotonic() > answered + 0.1, 5, "a tenth of a second has passed")
        for pid in platform.pids("publisher"):
            os.kill(pid, signal.SIGKILL)
        assert running.result().status == 200
    platform.wait_healthy()
    for call_id in ids:
        assert finished(user, call_id)["status"] == "succeeded"
    assert finished(user, open_id)["status"] == "succeeded"


def test_the_list_is_built_again_when_its_file_is_damaged(platform, user):
    before = [i["id"] for i in listed(user, limit=200)]
    victims = list(pathlib.Path(platform.data, "services", "calls").glob("*.db"))
    assert len(victims) == platform.replicas.get("registry", 1)
    for path in victims:
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with open(path, "r+b") as out:
            out.seek(4096)
            out.write(os.urandom(path.stat().st_size - 4096))

    def all_are_there():
        answer = user.get("/v1/calls?limit=200")
        return answer.status == 200 and [i["id"] for i in answer.json["items"]] == before
    # Each finds the damage when it is asked, and is built then.
    wait_until(lambda: all(all_are_there() for _ in range(12)), 30, "every registry lists all calls again")


def test_the_command_line_shows_them(platform, user):
    env = {**platform.env, "FAAS_URL": platform.url, "FAAS_TOKEN": user.token}
    platform.env, kept = env, platform.env
    try:
        call_id = user.call("fail", "stderr 70").headers["X-Call-Id"]
        finished(user, call_id)
        table = platform.run("calls", "--function", "fail", "--limit", "1")
        assert table.returncode == 0 and table.stdout.splitlines()[0].split() == ["ID", "FUNCTION", "VERSION", "STATUS", "CODE", "RUN", "START", "CAME"], table
        assert call_id in table.stdout and len(table.stdout.splitlines()) == 2
        # A registry that a test before has deprived of its records builds them again, and says so.
        shown = wait_until(lambda: (done := platform.run("call", call_id)).returncode != 5 and done, 20, "every registry has its records")
        assert shown.returncode == 0 and f"id                     {call_id}" in shown.stdout
        assert wait_until(lambda: len(platform.run("logs", call_id).stdout) == 70, 20, "its log")
        assert platform.run("call", "nonsense").returncode == 2
        assert platform.run("logs", "0190a000-0000-7000-8000-000000000001").returncode == 4
    finally:
        platform.env = kept


def test_the_command_line_follows_a_function(platform):
    me = Client.new(platform.url)
    me.register("faas-tests/fail:latest", "fail")
    me.register("faas-examples/echo:latest", "echo")
    env = {**platform.env, "FAAS_URL": platform.url, "FAAS_TOKEN": me.token}

    def faas(*args):
        return subprocess.run([platform.faas, *args], env=env, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)

    def call(size):
        call_id = me.call("fail", f"stderr {size}").headers["X-Call-Id"]
        finished(me, call_id)
        return call_id
    ids = [call(size) for size in (64, 128, 192)]
    lines = [json.loads(line) for line in faas("logs", "fail", "--json", "--since", "10m").stdout.splitlines()]
    assert [(line["id"], len(line["stderr"])) for line in lines] == list(zip(ids, (64, 128, 192)))
    last = faas("logs", "fail", "--limit", "1")
    assert last.returncode == 0 and f" {ids[2]} " in last.stdout.splitlines()[0] and len(last.stdout.split("\n", 1)[1]) == 192 and ids[1] not in last.stdout, last
    assert len(faas("logs", "fail", "--call", ids[0]).stdout) == 64
    assert "faas list" in faas("logs", "nobody").stderr and faas("logs", "fail", "--since", "soon").returncode == 2
    with subprocess.Popen([platform.faas, "logs", "fail", "-f", "--limit", "2", "--json"], env=env, text=True, stdout=subprocess.PIPE) as follow:
        try:
            got = [json.loads(follow.stdout.readline())["id"] for _ in range(2)]
            more = [call(64) for _ in range(3)]
            got += [json.loads(follow.stdout.readline())["id"] for _ in more]
        finally:
            follow.kill()
    assert got == ids[1:] + more
    queued = faas("invoke", "echo", "later", "--follow")
    assert (queued.returncode, queued.stdout) == (0, "later") and "faas cancel" in queued.stderr, queued
    finished(me, queued.stderr.split()[1])
    assert faas("invoke", "echo", "x", "--follow", "--async").returncode == 2
    top = json.loads(faas("top", "--json", "--window-s", "600").stdout)
    assert [f["function"] for f in top["functions"]] == ["fail", "echo"], top
    busiest = top["functions"][0]
    assert busiest["calls"] == 6 and busiest["running"] == busiest["queued"] == 0 and busiest["p99_ms"] >= busiest["p50_ms"] > 0, top
    table = faas("top", "--once", "--window-s", "600").stdout.splitlines()
    assert table[0].split() == ["FUNCTION", "CALLS/S", "ERRORS", "RUNNING", "QUEUED", "P50", "P99"] and table[1].split()[0] == "fail", table
