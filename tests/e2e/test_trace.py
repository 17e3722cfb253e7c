"""W3C trace context: from the client's header through every hop to the function, its record and the logs."""
import json
import pathlib

import pytest

from support import unique, wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def seen(client, name, header):
    """What the function finds in its environment; None: nothing."""
    answer = client.post(f"/function/{name}", "env TRACEPARENT", headers={"traceparent": header} if header else {})
    if answer.status == 200:
        return answer.text.strip()
    assert answer.problem(502, "function_failed")["exit_code"] == 1
    return None


@pytest.fixture(scope="module")
def fail(client, functions):
    return "fail"


@pytest.mark.parametrize("header, there", [
    (PARENT, PARENT),
    (f"cc-{TRACE}-b7ad6b7169203331-01-what-the-future-will-be-like", PARENT),  # a later version, read as this one
    (None, None),  # none is made up
    (PARENT.upper(), None), (PARENT + "-x", None), (f"00-{'0' * 32}-b7ad6b7169203331-01", None), (f"ff{PARENT[2:]}", None), ("$(reboot)", None),
])
def test_the_function_goes_on_with_its_callers_trace(client, fail, header, there):
    assert seen(client, fail, header) == there


def test_calls_of_one_sandbox_have_traces_of_their_own(client):
    name = client.register("faas-tests/fail:latest", reuse="slot")
    for last in ("01", "02", "03"):
        assert seen(client, name, PARENT[:-2] + last) == PARENT[:-2] + last
    assert seen(client, name, None) is None


def test_what_the_function_itself_sets_stays(client):
    name = client.register("faas-tests/fail:latest", env={"TRACEPARENT": "mine"})
    assert seen(client, name, PARENT) == "mine"


def test_a_queued_call_keeps_its_trace(client, fail):
    call = client.post(f"/async-function/{fail}", "env TRACEPARENT", headers={"traceparent": PARENT}).json["call_id"]
    record = client.get(f"/v1/calls/{call}?wait=30").json
    assert record["status"] == "succeeded" and client.get(f"/v1/calls/{call}/result").text.strip() == PARENT
    wait_until(lambda: client.get(f"/v1/calls/{call}").json.get("trace_id") == TRACE, 10, "the record has the trace")


def lines(platform, service, call, key):
    found = []
    for path in pathlib.Path(platform.data, "log").glob(f"{service}-*.log"):
        found += [line for line in map(json.loads, path.read_text().splitlines()) if line.get(key) == call]
    return found


def test_record_and_logs_tell_the_trace_and_the_call(platform, client, fail):
    trace = f"{unique('')[:8]:0>32}"
    answer = client.post(f"/function/{fail}", "exit 3", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-00"})
    call = answer.headers["X-Call-Id"]
    assert answer.status == 502
    assert wait_until(lambda: client.get(f"/v1/calls/{call}").json, 10, "the record is there")["trace_id"] == trace
    for service, key in (("gateway", "request"), ("publisher", "call"), ("spawner", "call")):
        ended = wait_until(lambda: [line for line in lines(platform, service, call, key) if "trace" in line], 10, f"{service} logs the call")
        assert [line["trace"] for line in ended] == [trace], (service, ended)


def test_a_record_without_a_trace_says_nothing_of_one(client, fail):
    call = client.post(f"/function/{fail}", "nothing").headers["X-Call-Id"]
    record = wait_until(lambda: (lambda answer: answer.json if answer.status == 200 else None)(client.get(f"/v1/calls/{call}")), 10, "the record is there")
    assert "trace_id" not in record
