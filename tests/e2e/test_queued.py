"""Calls that are queued: promised only once stored, run whatever dies, their results and failures kept."""
import concurrent.futures
import os
import signal

import pytest

from support import Client, wait_until

PENDING = ("queued", "running")
DUMMY = "01890000-0000-7000-8000-000000000001"


def queue(client, name, argument, **more):
    answer = client.post(f"/async-function/{name}", argument, **more)
    assert answer.status == 202, (answer.status, answer.text)
    assert answer.headers["X-Call-Id"] == answer.json["call_id"] and answer.headers["Location"] == f"/v1/calls/{answer.json['call_id']}"
    return answer.json["call_id"]


def ended(client, call, seconds=60):
    """The state of a call once it has ended; answers that tell of a passing trouble are asked again."""
    def look():
        try:
            answer = client.get(f"/v1/calls/{call}?wait=20")
        except OSError:
            return None
        if answer.status in (503, 504):
            return None
        assert answer.status == 200, (answer.status, answer.text)
        return answer.json if answer.json["status"] not in PENDING else None
    return wait_until(look, seconds, f"call {call} ends")


def result(client, call):
    return client.get(f"/v1/calls/{call}/result")


@pytest.fixture(scope="module")
def sturdy(client, functions):
    """A function that may run again, whatever became of it."""
    return client.register(functions["fail"], retry={"idempotent": True, "attempts": 3, "backoff_ms": 50, "on": ["lost", "failed"]})


def test_a_result_is_kept_byte_for_byte_with_the_headers_of_a_call(client, functions):
    call = queue(client, "echo", "grüße")
    state = ended(client, call)
    assert state["status"] == "succeeded" and state["function"] == "echo" and state["attempt"] == 1 and state["code"] == "ok", state
    assert state["result_bytes"] == len("grüße".encode()) and state["queued_at"] <= state["ended_at"]
    got = result(client, call)
    assert (got.status, got.body, got.headers["Content-Type"]) == (200, "grüße".encode(), "text/plain; charset=utf-8")
    assert got.headers["X-Exit-Code"] == "0" and got.headers["X-Start"] and got.headers["X-Call-Id"] == call


def test_results_of_many_chunks_are_exact(client, functions):
    """Around the sizes at which a result moves out of its end's message, and far beyond."""
    for size in (0, 262143, 262144, 262145, 3_000_000):
        call = queue(client, "fail", f"bytes {size}")
        assert ended(client, call)["result_bytes"] == size
        direct = client.call("fail", f"bytes {size}")
        got = result(client, call)
        assert (got.status, len(got.body)) == (200, size) and got.body == direct.body, size
        assert got.headers["Content-Type"] == direct.headers["Content-Type"]


def test_what_cannot_be_queued_is_refused_before_any_promise(client, other, functions):
    client.post("/async-function/missing", "x").problem(404, "not_found")
    other.post("/async-function/echo", "x").problem(404, "not_found")
    Client(f"http://{client.url.netloc}").post("/async-function/echo", "x").problem(401, "unauthenticated")
    assert "UTF-8" in client.post("/async-function/echo", b"\xff").problem(400, "invalid_request")["detail"]
    client.post("/async-function/echo", b"x" * 131072).problem(413, "too_large")
    client.post("/async-function/echo", b"x" * (1024 * 1024 + 1)).problem(413, "too_large")
    assert client.request("PUT", "/async-function/echo", "x").status == 405


def test_calls_of_others_and_bad_ids_are_not_found(client, other, functions):
    call = queue(client, "echo", "mine")
    ended(client, call)
    for who, id in ((other, call), (client, DUMMY), (client, "nonsense"), (client, "..%2f.."), (client, "%3e"), (client, "*")):
        who.get(f"/v1/calls/{id}?wait=0").problem(404, "not_found")
        who.get(f"/v1/calls/{id}/result").problem(404, "not_found")
        who.delete(f"/v1/calls/{id}").problem(404, "not_found")
    assert result(client, call).body == b"mine"


@pytest.mark.parametrize("query", ["wait=-1", "wait=61", "wait=x", "wait=", "wait=1&wait=2", "wait=1e1", "weight=1", "wait=99999999999999999999"])
def test_parameters_are_strict(client, functions, query):
    detail = client.get(f"/v1/calls/{DUMMY}?{query}").problem(400, "invalid_request")["detail"]
    assert "wait" in detail or "weight" in detail, detail


def test_a_call_that_goes_on_is_told_and_cancelled(client, platform, functions, promise):
    call = queue(client, "fail", "sleep 30000")
    wait_until(lambda: client.get(f"/v1/calls/{call}?wait=0").json["status"] == "running" and platform.running(), 30, "it runs")
    assert "wait" in result(client, call).problem(409, "conflict")["detail"]
    assert client.delete(f"/v1/calls/{call}").status == 204
    assert platform.running() == []
    assert client.get(f"/v1/calls/{call}?wait=0").json["status"] == "cancelled"
    result(client, call).problem(409, "conflict")
    client.delete(f"/v1/calls/{call}").problem(409, "conflict")
    promise(25, "0 sandboxes or containers left when a cancel is answered")


def test_a_waiting_call_that_was_cancelled_never_starts(client, functions):
    name = client.register(functions["fail"], concurrency=1)
    first = queue(client, name, "sleep 2000")
    wait_until(lambda: client.get(f"/v1/calls/{first}?wait=0").json["status"] == "running", 30, "it runs")
    second = queue(client, name, "exit 7")
    assert client.delete(f"/v1/calls/{second}").status == 204
    state = ended(client, second)
    assert state["status"] == "cancelled" and state["attempt"] == 1 and "exit_code" not in state, state
    assert ended(client, first)["status"] == "succeeded"


def test_failures_become_dead_letters_and_are_queued_anew(client, other, functions, sturdy):
    call = queue(client, sturdy, "exit 3")
    state = ended(client, call)
    assert (state["status"], state["attempt"], state["exit_code"]) == ("dead", 3, 3), state
    assert result(client, call).problem(502, "function_failed")["exit_code"] == 3
    letter = next(item for item in client.get("/v1/dead-letters?limit=200").json["items"] if item["id"] == call)
    assert letter["argument_bytes"] == len("exit 3") and letter["function"] == sturdy
    shown = client.get(f"/v1/dead-letters/{call}").json
    assert shown["argument"] == "exit 3" and shown["code"] == "function_failed", shown
    other.get(f"/v1/dead-letters/{call}").problem(404, "not_found")
    other.post(f"/v1/dead-letters/{call}/redrive").problem(404, "not_found")
    assert all(item["id"] != call for item in other.get("/v1/dead-letters").json["items"])
    # Its function was mended meanwhile: the newest version runs.
    assert client.put("/registry/update", {"name": sturdy, "payload": functions["echo"]}).status == 200
    again = client.post(f"/v1/dead-letters/{call}/redrive")
    assert again.status == 202 and again.json["redrive_of"] == call, again.text
    assert ended(client, again.json["call_id"])["status"] == "succeeded"
    assert result(client, again.json["call_id"]).body == b"exit 3"
    client.post(f"/v1/dead-letters/{call}/redrive").problem(404, "not_found")
    assert client.put("/registry/update", {"name": sturdy, "payload": functions["fail"]}).status == 200


def test_dead_letters_come_in_pages(client, functions):
    calls = {queue(client, "fail", f"exit {n}") for n in (11, 12, 13)}
    for call in calls:
        assert ended(client, call)["status"] == "dead"
    seen, cursor = [], None
    while True:
        page = client.get("/v1/dead-letters?limit=2" + (f"&cursor={cursor}" if cursor else "")).json
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert calls <= set(seen) and len(seen) == len(set(seen))
    for query in ("limit=0", "limit=201", "limit=x", "cursor=-1", "cursor=x", "until=1"):
        client.get(f"/v1/dead-letters?{query}").problem(400, "invalid_request")


def test_what_is_not_idempotent_runs_once_however_it_ends(client, functions):
    call = queue(client, "fail", "exit 9")
    state = ended(client, call)
    assert (state["status"], state["attempt"], state["exit_code"]) == ("dead", 1, 9), state


def test_a_queued_call_runs_the_version_it_was_queued_for(client, functions):
    name = client.register(functions["fail"], concurrency=1)
    first = queue(client, name, "sleep 1500")
    wait_until(lambda: client.get(f"/v1/calls/{first}?wait=0").json["status"] == "running", 30, "it runs")
    second = queue(client, name, "exit 5")
    assert client.put("/registry/update", {"name": name, "payload": functions["echo"]}).status == 200
    third = queue(client, name, "exit 6")
    assert ended(client, second)["exit_code"] == 5 and ended(client, second)["version"] == 1
    assert ended(client, third)["status"] == "succeeded" and result(client, third).body == b"exit 6"


def test_calls_of_a_deleted_function_end_as_not_found(client, functions):
    name = client.register(functions["fail"], concurrency=1)
    first = queue(client, name, "sleep 1500")
    wait_until(lambda: client.get(f"/v1/calls/{first}?wait=0").json["status"] == "running", 30, "it runs")
    second = queue(client, name, "exit 5")
    assert client.delete("/registry/delete", {"name": name}).status == 204
    state = ended(client, second)
    assert (state["status"], state["code"]) == ("refused", "not_found"), state
    result(client, second).problem(404, "not_found")
    assert ended(client, first)["status"] == "succeeded"


# ---- who dies ----


@pytest.mark.parametrize("service", ["publisher", "spawner", "nats"])
def test_no_promised_call_is_lost_and_none_runs_twice_unasked(platform, client, functions, sturdy, service, promise):
    once = [queue(client, "fail", "sleep 1500") for _ in range(3)] + [queue(client, "fail", f"sleep {n}") for n in range(100, 130)]
    often = [queue(client, sturdy, "sleep 1500") for _ in range(3)] + [queue(client, sturdy, f"sleep {n}") for n in range(100, 130)]
    wait_until(lambda: platform.running(), 30, "some run")
    for pid in platform.pids(service):
        os.kill(pid, signal.SIGKILL)
    states = {call: ended(client, call, 90) for call in once + often}
    assert all(states[call]["status"] == "succeeded" for call in often), [s for s in states.values() if s["status"] != "succeeded"]
    for call in once:
        state = states[call]
        assert state["attempt"] == 1, state
        assert state["status"] == "succeeded" or (state["status"] == "dead" and state["may_have_run"]), state
    platform.wait_healthy()
    promise(36, f"66 queued calls, every {service} killed: 0 lost, 0 run twice unasked")


def test_one_user_s_many_long_calls_do_not_delay_another_s(client, other, functions, promise):
    """The first user's calls would hold every place for a minute: some are left to others."""
    name = other.register(functions["echo"])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        many = list(pool.map(lambda _: queue(client, "fail", "sleep 60000"), range(200)))
        wait_until(lambda: client.get(f"/v1/calls/{many[0]}?wait=0").json["status"] == "running", 30, "they run")
        assert ended(other, queue(other, name, "quick"))["status"] == "succeeded"
        states = list(pool.map(lambda call: client.get(f"/v1/calls/{call}?wait=0").json["status"], many))
        assert states.count("queued") > 0 and states.count("running") > 0 and set(states) <= set(PENDING), states
        answers = list(pool.map(lambda call: client.delete(f"/v1/calls/{call}").status, many))
    assert answers == [204] * 200, answers
    promise(39, "1 queued call ran at once beside 200 of another user that held their places")
