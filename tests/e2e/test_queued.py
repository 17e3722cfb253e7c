"""Calls that are queued: promised only once stored, run whatever dies, their results and failures kept."""
import concurrent.futures
import http.server
import json
import os
import pathlib
import signal
import subprocess
import threading

import pytest

from support import Client, unique, wait_until

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


# ---- the same call again ----


def keyed(client, path, argument, key):
    return client.post(path, argument, headers={"Idempotency-Key": key})


def test_a_repeated_key_is_the_same_call(client, other, functions):
    key = unique("k")
    first = keyed(client, "/function/fail", "sleep 700", key)
    assert (first.status, first.body) == (200, b"slept"), first.text
    again = keyed(client, "/function/fail", "sleep 700", key)
    assert (again.status, again.body, again.headers["X-Call-Id"]) == (200, b"slept", first.headers["X-Call-Id"])
    assert keyed(client, "/async-function/fail", "sleep 700", key).json["call_id"] == first.headers["X-Call-Id"]
    detail = keyed(client, "/function/fail", "sleep 701", key).problem(422, "unprocessable")["detail"]
    assert first.headers["X-Call-Id"] in detail
    # Another function, and another user, have keys of their own.
    assert keyed(client, "/function/echo", "mine", key).body == b"mine"
    name = other.register(functions["echo"])
    assert keyed(other, f"/function/{name}", "theirs", key).body == b"theirs"


def test_calls_of_one_key_at_once_are_one_call(client, functions, promise):
    key = unique("k")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: keyed(client, "/function/fail", "sleep 500", key), range(8)))
    assert {(g.status, g.body) for g in got} == {(200, b"slept")}, [g.text for g in got]
    assert len({g.headers["X-Call-Id"] for g in got}) == 1
    promise(37, "8 calls of one key at once: 1 run, 8 answers")


def test_a_key_keeps_a_failure_too_and_is_checked(client, functions):
    key = unique("k")
    for _ in range(2):
        assert keyed(client, "/function/fail", "exit 4", key).problem(502, "function_failed")["exit_code"] == 4
    keyed(client, "/function/missing", "x", key).problem(404, "not_found")
    for bad in ("", "x" * 256, "\t"):
        keyed(client, "/function/echo", "x", bad).problem(400, "invalid_request")


# ---- callbacks ----


@pytest.fixture
def receiver():
    """receiver(address, statuses): an HTTP server that answers so, one after the other; what it got is in its list."""
    servers = []

    def begin(address, statuses=(200,)):
        got, left = [], list(statuses)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                got.append((dict(self.headers), self.rfile.read(int(self.headers.get("Content-Length", 0)))))
                self.send_response(left.pop(0) if len(left) > 1 else left[0])
                self.send_header("Location", f"http://127.0.0.2:{self.server.server_port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass
        server = http.server.ThreadingHTTPServer((address, 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://{address}:{server.server_port}/hook?x=1", got
    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_callback_tells_the_end_and_is_tried_again(client, functions, receiver):
    url, got = receiver("127.0.0.2", (503, 200))
    call = queue(client, "echo", "told", headers={"X-Callback-Url": url})
    wait_until(lambda: len(got) == 2, 30, "the callback is tried again")
    headers, body = got[1]
    assert body == b"told" and headers["X-Call-Id"] == call and headers["X-Function-Name"] == "echo", headers
    assert headers["X-Function-Status"] == "200" and float(headers["X-Duration-Seconds"]) >= 0 and headers["Content-Type"].startswith("text/plain")


def test_a_callback_outlives_the_publisher_that_posts_it(platform, client, functions, receiver):
    """The fourth try is none of those who are killed after the first: they wait a second, then two, then four."""
    url, got = receiver("127.0.0.2", (503, 503, 503, 200))
    call = queue(client, "echo", "inherited", headers={"X-Callback-Url": url})
    pids = platform.pids("publisher")
    wait_until(lambda: got, 30, "the first try")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(got) >= 4, 60, "others go on")
    assert {(headers["X-Call-Id"], body) for headers, body in got} == {(call, b"inherited")}
    platform.wait_healthy()
    assert result(client, call).body == b"inherited"


def test_a_callback_tells_failures_and_where_long_results_are(client, functions, receiver):
    url, got = receiver("127.0.0.2")
    queue(client, "fail", "exit 6", headers={"X-Callback-Url": url})
    wait_until(lambda: len(got) == 1, 30, "the callback comes")
    assert got[0][0]["X-Function-Status"] == "502" and b'"exit_code":6' in got[0][1]
    call = queue(client, "fail", "bytes 300000", headers={"X-Callback-Url": url})
    wait_until(lambda: len(got) == 2, 30, "the callback comes")
    assert got[1][1] == b"" and got[1][0]["X-Result-Path"] == f"/v1/calls/{call}/result"


def test_callbacks_reach_no_inner_address(client, functions, receiver, platform, promise):
    """Loopback is refused but for what the operator named; a redirect leads nowhere."""
    inner, got = receiver("127.0.0.1")
    port = inner.split(":")[2].split("/")[0]
    urls = [inner, f"http://localhost:{port}/", f"http://0.0.0.0:{port}/", f"http://[::1]:{port}/", f"http://[::ffff:127.0.0.1]:{port}/",
            f"http://2130706433:{port}/", f"http://0x7f.1:{port}/", "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1:1/"]
    for url in urls:
        assert ended(client, queue(client, "echo", "x", headers={"X-Callback-Url": url}))["status"] == "succeeded", url
    there, reached = receiver("127.0.0.2", (302,))
    queue(client, "echo", "x", headers={"X-Callback-Url": there})
    wait_until(lambda: len(reached) == 1, 30, "the redirecting receiver is reached")
    wait_until(lambda: publisher_logs(platform).count('"a callback was given up"') >= len(urls) + 1, 30, "all are given up")
    assert got == [] and len(reached) == 1
    promise(20, f"0 of {len(urls)} inner addresses and 0 redirects reached by callbacks")


def publisher_logs(platform):
    return "".join(p.read_text() for p in pathlib.Path(platform.data, "log").glob("publisher*.log"))


@pytest.mark.parametrize("url", ["", "ftp://a.example/", "http://", "https:///x", "http://u:p@a.example/", "file:///etc/passwd", "http://a b/", "x" * 2049])
def test_callback_urls_are_checked(client, functions, url):
    client.post("/async-function/echo", "x", headers={"X-Callback-Url": url}).problem(400, "invalid_request")
    client.post("/function/echo", "x", headers={"X-Callback-Url": "http://a.example/"}).problem(400, "invalid_request")


# ---- how much ----


def test_one_user_s_stored_arguments_leave_room_for_another_s(client, other, functions):
    """QUEUED_MB_TENANT is 2 here; a publisher has the calls of one function."""
    name, calls = client.register(functions["fail"]), []
    argument = "sleep 60000 " + "x" * 120_000
    while len(calls) < 20 and (answer := client.post(f"/async-function/{name}", argument)).status == 202:
        calls.append(answer.json["call_id"])
    assert answer.problem(429, "busy")["detail"].startswith("arguments of your queued calls would take more than your quota queued_bytes (2097152)"), answer.text
    assert answer.headers["Retry-After"] and 10 < len(calls) < 20, len(calls)
    assert ended(other, queue(other, other.register(functions["echo"]), "small"))["status"] == "succeeded"
    assert [client.delete(f"/v1/calls/{call}").status for call in calls] == [204] * len(calls)
    assert ended(client, queue(client, name, "sleep 1"))["status"] == "succeeded"


def test_a_key_whose_result_was_evicted_says_so_and_runs_nothing(client, functions):
    """RESULTS_MB is 16 here: the oldest results go first."""
    key = {"Idempotency-Key": "evicted"}
    first = client.call("fail", "bytes 100", headers=key)
    assert (first.status, len(first.body)) == (200, 100)
    call = first.headers["X-Call-Id"]
    for n in range(7):
        assert ended(client, queue(client, "fail", f"bytes {3_000_000 + n}"))["status"] == "succeeded"
    again = client.call("fail", "bytes 100", headers=key)
    assert "no longer kept" in again.problem(409, "conflict")["detail"] and again.json["call_id"] == call
    assert result(client, call).status in (404, 410)
    assert client.post("/async-function/fail", "bytes 100", headers=key).json["call_id"] == call
    assert client.call("fail", "bytes 100", headers={"Idempotency-Key": "another"}).status == 200


# ---- the command line ----


def test_the_command_line_queues_waits_cancels_and_redrives(platform, client, functions):
    def faas(*args, code=0):
        done = subprocess.run([platform.faas, *args], env={**platform.env, "FAAS_URL": platform.url, "FAAS_TOKEN": client.token}, text=True,
                              capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        assert done.returncode == code, (args, done.stdout, done.stderr)
        return done.stdout.strip()
    call = faas("invoke", "--async", "echo", "from afar")
    assert faas("result", call, "--wait-s", "30") == "from afar"
    long = faas("invoke", "--async", "fail", "sleep 60000")
    faas("result", long, code=2)
    faas("cancel", long)
    faas("cancel", long, code=2)
    dead = faas("invoke", "--async", "fail", "exit 8")
    faas("result", dead, "--wait-s", "30", code=1)
    assert dead in faas("dead", "list") and "exit 8" in faas("dead", "show", dead)
    assert json.loads(faas("dead", "redrive", dead, "--json"))["redrive_of"] == dead
    faas("dead", "show", dead, code=4)


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


def test_one_user_s_many_long_calls_do_not_delay_another_s(platform, client, other, functions, promise):
    """The first user's calls would hold every place for a minute: some are left to others."""
    if not platform.is_native:
        pytest.skip("a hundred containers take an engine minutes to start")
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
