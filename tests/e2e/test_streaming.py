"""Outputs that leave as they are written: bytes and events, slow clients and such that leave, and whatever dies meanwhile."""
import base64
import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.parse

import pytest

import conftest
from support import Client, Platform, free_port, unique, wait_until

SHELL, FAIL = "faas-tests/sh:latest", "faas-tests/fail:latest"
STREAM, EVENTS = {"X-Stream": "true"}, {"Accept": "text/event-stream"}
MIB = 1 << 20


@pytest.fixture(scope="module")
def here(engine):
    """A platform whose clients may leave an output unread for two seconds."""
    data = tempfile.mkdtemp(prefix="faas-stream-")
    plat = Platform(conftest.BIN, data, free_port(), {"publisher": 2, "spawner": 1}, engine, {"GATEWAY_STALL_S": "2"})
    plat.up()
    yield plat
    left = plat.down()
    plat.check_logs()
    assert left == [], left
    for folder in (data, f"{data}-run"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def user(here):
    return Client.new(here.url)


@pytest.fixture(scope="module")
def shell(user):
    return user.register(SHELL, timeout_ms=60000)


@contextlib.contextmanager
def streamed(user, name, argument, headers=STREAM, method="POST"):
    """The answer once its head has come; its body is read by the test."""
    conn = http.client.HTTPConnection(user.url.hostname, user.url.port, timeout=60)
    try:
        conn.request(method, f"/function/{name}", argument, {"Authorization": f"Bearer {user.token}", **headers})
        yield conn.getresponse()
    finally:
        conn.close()


def events(response):
    """(name, object) of each event, as they come."""
    name = None
    for line in iter(response.readline, b""):
        line = line.decode().rstrip("\n")
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])
        elif not line.startswith(":"):  # a comment, in silence
            assert line == "", line


def of(all_events, name):
    return b"".join(e["text"].encode() if "text" in e else base64.b64decode(e["base64"], validate=True) for n, e in all_events if n == name)


def status(user, call_id):
    answer = user.get(f"/v1/calls/{call_id}")
    return answer.json["status"] if answer.status == 200 else None


def cut(response):
    """What came of a body that ended before its last chunk."""
    with pytest.raises(http.client.IncompleteRead) as short:
        while response.read(65536):
            pass
    return short.value.partial


# ---- what arrives, and when ----

def test_a_line_arrives_while_the_function_runs_and_leaving_ends_it(here, user, shell):
    with streamed(user, shell, "echo first; sleep 600") as response:
        assert response.status == 200 and response.headers["Transfer-Encoding"] == "chunked" and "Content-Length" not in response.headers
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.readline() == b"first\n"
        call = response.headers["X-Call-Id"]
        wait_until(lambda: status(user, call) == "running", 10, "the call is recorded as running")
        assert len(here.running()) == 1
    wait_until(lambda: here.running() == [], 20, "nothing of the call runs")
    wait_until(lambda: status(user, call) == "cancelled", 10, "its record says so")


@pytest.mark.parametrize("headers", [STREAM, EVENTS, {**STREAM, **EVENTS}], ids=["bytes", "events", "both"])
def test_bytes_arrive_as_they_were_written(user, headers):
    name = user.register(FAIL, input="stdin")
    for sent in (secrets.token_bytes(900000), ("häßliche Wörter, 漢字 und 🙂\n" * 20000).encode()[:900001], bytes(range(256)) * 64, b"\0" * 100000, b"x"):
        with streamed(user, name, sent, headers) as response:
            assert response.status == 200
            if headers == STREAM:
                assert response.read() == sent
            else:
                got = list(events(response))
                assert of(got, "stdout") == sent and got[-1][0] == "end" and [n for n, _ in got].count("end") == 1
                assert got[-1][1]["code"] == "ok" and got[-1][1]["stdout_bytes"] == len(sent)


def test_text_stays_text_where_a_character_is_cut(user, shell):
    with streamed(user, shell, r"printf 'a\303'; sleep 0.1; printf '\244b'; sleep 0.1; printf '\303'", EVENTS) as response:
        got = list(events(response))
    assert [e for n, e in got if n == "stdout"][:2] == [{"text": "a"}, {"text": "äb"}] and of(got, "stdout") == b"a\xc3\xa4b\xc3"
    assert [e for n, e in got if n == "stdout"][-1] == {"base64": base64.b64encode(b"\xc3").decode()}


def test_events_hold_both_outputs_in_their_order_and_the_end(user, shell):
    with streamed(user, shell, "echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three; exit 3", EVENTS) as response:
        assert response.status == 200 and response.headers["Content-Type"] == "text/event-stream"
        call, got = response.headers["X-Call-Id"], list(events(response))
    assert got[:3] == [("stdout", {"text": "one\n"}), ("stderr", {"text": "two\n"}), ("stdout", {"text": "three\n"})]
    name, end = got[3]
    assert name == "end" and end["call_id"] == call and end["code"] == "function_failed" and end["exit_code"] == 3 and end["duration_ms"] > 0
    assert end["problem"]["status"] == 502 and end["problem"]["stderr"] == "two\n" and end["problem"]["call_id"] == call


def test_a_call_without_output_is_answered_as_ever_and_with_an_end_event(user, shell):
    with streamed(user, shell, ":") as response:
        assert response.status == 200 and response.headers["Content-Length"] == "0" and response.headers["X-Exit-Code"] == "0"
    with streamed(user, shell, ":", EVENTS) as response:
        got = list(events(response))
    assert [n for n, _ in got] == ["end"] and got[0][1]["code"] == "ok" and "problem" not in got[0][1]


def test_who_did_not_ask_gets_what_everybody_gets(user, shell):
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json, text/event-stream"}, {"X-Stream": "false"}, {"X-Stream": "false", **EVENTS}):
        with streamed(user, shell, "echo a", headers) as response:
            assert response.headers["Content-Length"] == "2" and response.headers["Content-Type"] == "text/plain; charset=utf-8", headers
            assert response.headers["X-Exit-Code"] == "0" and response.read() == b"a\n" and "X-Accel-Buffering" not in response.headers
            assert response.headers.get_all("X-Served-By") is not None and len(response.headers.get_all("X-Served-By")) == 1


def test_get_streams_and_head_does_not(user, shell):
    name = user.register(FAIL, input="stdin")
    with streamed(user, name, b"some", STREAM, "GET") as response:
        assert response.headers["Transfer-Encoding"] == "chunked" and response.read() == b"some"
    with streamed(user, name, b"some", STREAM, "HEAD") as response:
        assert response.status == 200 and response.headers["Content-Length"] == "4" and response.read() == b""


def test_the_older_way_of_calling_streams_too(user, shell):
    conn = http.client.HTTPConnection(user.url.hostname, user.url.port, timeout=60)
    conn.request("POST", "/publisher/publish", json.dumps({"name": shell, "argument": "echo a"}), {"Authorization": f"Bearer {user.token}", **STREAM})
    response = conn.getresponse()
    assert response.headers["Transfer-Encoding"] == "chunked" and response.read() == b"a\n"
    conn.close()


def test_a_connection_serves_on_after_a_stream(user, shell):
    conn = http.client.HTTPConnection(user.url.hostname, user.url.port, timeout=60)
    for headers in (STREAM, {}, EVENTS, STREAM):
        conn.request("POST", f"/function/{shell}", "echo again", {"Authorization": f"Bearer {user.token}", **headers})
        response = conn.getresponse()
        assert b"again" in response.read()
    conn.close()


def test_what_is_asked_wrongly_is_refused(user, shell):
    for headers, word in (({"X-Stream": "yes"}, "X-Stream"), ({"X-On-Disconnect": "stay"}, "X-On-Disconnect"),
                          ({"X-Stream": "true", "Idempotency-Key": unique()}, "Idempotency-Key")):
        doc = user.post(f"/function/{shell}", "echo a", headers=headers).problem(400, "invalid_request")
        assert word in doc["detail"], doc
    assert "X-Stream" in user.post(f"/async-function/{shell}", "echo a", headers=STREAM).problem(400, "invalid_request")["detail"]


def test_many_streams_at_once_do_not_mix(user, shell):
    def one(n):
        with streamed(user, shell, f"i=0; while [ $i -lt 200 ]; do echo {n}-$i; i=$((i+1)); done", EVENTS if n % 2 else STREAM) as response:
            got = of(list(events(response)), "stdout") if n % 2 else response.read()
        return got == "".join(f"{n}-{i}\n" for i in range(200)).encode()
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert all(pool.map(one, range(36)))


# ---- failures ----

def test_a_failure_before_any_byte_is_the_answer_it_always_was(user, shell):
    plain = user.post(f"/function/{shell}", "exit 3").problem(502, "function_failed")
    for headers in (STREAM, EVENTS):
        doc = user.post(f"/function/{shell}", "exit 3", headers=headers).problem(502, "function_failed")
        assert {**doc, "call_id": ""} == {**plain, "call_id": ""}
        user.post("/function/nobody", "", headers=headers).problem(404, "not_found")


def test_a_failure_after_some_bytes_is_no_whole_answer(user, shell):
    with streamed(user, shell, "echo some; exit 3") as response:
        assert response.status == 200 and b"some\n".startswith(cut(response))


def test_a_timeout_amid_a_stream_cuts_it(here, user):
    name = user.register(SHELL, timeout_ms=1000)
    with streamed(user, name, "echo a; sleep 600") as response:
        assert response.readline() == b"a\n"
        cut(response)
    with streamed(user, name, "echo a; sleep 600", EVENTS) as response:
        got = list(events(response))
    assert of(got, "stdout") == b"a\n" and got[-1][1]["code"] == "timeout" and got[-1][1]["problem"]["status"] == 504
    wait_until(lambda: here.running() == [], 20, "nothing of the calls runs")


def raw(user, name, argument, fields=""):
    s = socket.create_connection((user.url.hostname, user.url.port), timeout=60)
    s.sendall(f"POST /function/{name} HTTP/1.0\r\nAuthorization: Bearer {user.token}\r\nX-Stream: true\r\n{fields}Content-Length: {len(argument)}\r\n\r\n{argument}".encode())
    return s


def test_a_client_of_http_1_0_can_tell_a_whole_answer_from_a_cut_one(user, shell):
    with raw(user, shell, "echo a; sleep 0.1; echo b") as s, s.makefile("rb") as got:
        answer = got.read()
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"Transfer-Encoding" not in head and b"Content-Length" not in head and body == b"a\nb\n", answer
    with raw(user, shell, "echo a; sleep 0.1; exit 3") as s, pytest.raises(ConnectionResetError):
        while s.recv(65536):
            pass


def test_a_killed_spawner_cuts_a_stream_and_the_end_says_lost(here, user, shell):
    with streamed(user, shell, "echo a; sleep 600", EVENTS) as response:
        got = events(response)
        assert next(got) == ("stdout", {"text": "a\n"})
        os.kill(here.pids("spawner")[0], signal.SIGKILL)
        name, end = next(got)
    assert name == "end" and end["code"] == "lost" and end["problem"]["may_have_run"] is True
    wait_until(lambda: here.running() == [], 40, "what the spawner left is swept")
    wait_until(lambda: user.call(shell, "echo a").body == b"a\n", 40, "calls succeed again")


def test_an_idempotent_call_is_not_begun_anew_behind_its_first_bytes(here, user):
    name = user.register(SHELL, timeout_ms=60000, retry={"idempotent": True})
    with streamed(user, name, "echo a; sleep 600") as response:
        assert response.readline() == b"a\n"
        os.kill(here.pids("spawner")[0], signal.SIGKILL)
        assert cut(response) == b""
    wait_until(lambda: here.running() == [], 40, "nothing of the call runs")
    wait_until(lambda: user.call(name, "echo a").body == b"a\n", 40, "calls succeed again")


def test_killed_publishers_cost_a_stream_nothing(here, user, shell):
    with streamed(user, shell, "echo a; sleep 3; echo b") as response:
        assert response.readline() == b"a\n"
        for pid in here.pids("publisher"):
            os.kill(pid, signal.SIGKILL)
        assert response.read() == b"b\n"
    wait_until(lambda: user.call(shell, "echo a").body == b"a\n", 40, "calls succeed again")


# ---- clients ----

def test_a_client_that_stops_reading_is_cut_and_its_call_cancelled(here, user, shell):
    with streamed(user, shell, "head -c 200000000 /dev/zero; sleep 600") as response:
        response.read(1)
        call = response.headers["X-Call-Id"]
        wait_until(lambda: here.running() == [], 90, "nothing of the call runs")
    wait_until(lambda: status(user, call) == "cancelled", 10, "its record says so")


@pytest.mark.parametrize("headers", [{}, STREAM, EVENTS], ids=["plain", "bytes", "events"])
def test_a_call_goes_on_without_its_client_where_that_is_asked(here, user, shell, headers):
    mine = unique()
    s = socket.create_connection((user.url.hostname, user.url.port), timeout=60)
    fields = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    argument = "echo a; sleep 1; head -c 3000000 /dev/zero; exit 0"
    s.sendall(f"POST /function/{shell} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\nX-On-Disconnect: continue\r\nX-Call-Id: {mine}\r\n{fields}"
              f"Content-Length: {len(argument)}\r\n\r\n{argument}".encode())
    wait_until(lambda: len(here.running()) == 1, 20, "it runs")
    s.close()

    def record():
        found = [c for c in user.get("/v1/calls?limit=20").json["items"] if c.get("client_call_id") == mine]
        return found and found[0]["status"] not in ("running", "queued") and found[0]
    ended = wait_until(record, 40, "the call ends")
    assert ended["status"] == "succeeded" and ended["result_bytes"] == 3000002, ended


def test_silent_events_are_kept_alive(user, shell):
    with streamed(user, shell, "echo a; sleep 3; echo b", EVENTS) as response:  # half of GATEWAY_STALL_S is one second
        lines = response.read().decode().split("\n\n")
    assert lines[0].startswith("event: stdout") and ": keep-alive" in lines[1:-2] and lines[-2].startswith("event: end"), lines


def peak(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


@pytest.mark.skipif(os.geteuid() != 0, reason="resetting a peak needs root")
def test_a_hundred_megabytes_pass_without_being_kept(here, user, shell):
    size = 100 * MIB
    with streamed(user, shell, "echo warm") as response:
        response.read()
    pids = here.pids("gateway") + here.pids("publisher")
    for pid in pids:
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
    before = {pid: peak(pid) for pid in pids}
    with streamed(user, shell, f"head -c {size} /dev/zero") as response:
        got = 0
        while piece := response.read(MIB):
            assert piece.count(0) == len(piece)
            got += len(piece)
    grown = {pid: peak(pid) - before[pid] for pid in pids}
    assert got == size
    if not conftest.is_address_sanitized() and b"__tsan_init" not in (conftest.BIN / "faas-gateway").read_bytes():
        assert max(grown.values()) < 8 * 1024, grown


# ---- the command line ----

def invoke(here, user, *args, **more):
    return subprocess.Popen([here.faas, "invoke", "--stream", *args], env={**here.env, "FAAS_URL": here.url, "FAAS_TOKEN": user.token},
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def test_faas_invoke_stream_shows_lines_while_they_are_written_and_tells_the_end(here, user, shell):
    with invoke(here, user, shell, "echo a; echo b >&2; sleep 3; exit 3") as run:
        assert run.stdout.readline() == b"a\n" and run.poll() is None
        out, err = run.communicate(timeout=60)
    assert out == b"" and run.returncode == 1 and err.startswith(b"b\n") and b"exit status 3" in err and err.count(b"b\n") == 1, (run.returncode, out, err)
    raw_bytes = "head -c 700000 /dev/urandom | tee /tmp/x; sha256sum /tmp/x >&2"
    with invoke(here, user, shell, raw_bytes) as run:
        out, err = run.communicate(timeout=60)
    assert run.returncode == 0 and hashlib.sha256(out).hexdigest().encode() in err, err
    assert invoke(here, user, "nobody", "x").wait(60) == 4
    assert invoke(here, user, "--async", shell, "x").wait(60) == 2


def test_ctrl_c_ends_the_call(here, user, shell):
    with invoke(here, user, shell, "echo a; sleep 600") as run:
        assert run.stdout.readline() == b"a\n"
        wait_until(lambda: len(here.running()) == 1, 20, f"the call is seen to run: {here.status()}, {here.offspring()}")
        run.send_signal(signal.SIGINT)
    wait_until(lambda: here.running() == [], 20, "nothing of the call runs")


# ---- the page ----

def test_the_commands_of_the_page_do_what_it_says(here, user, shell):
    page = (conftest.ROOT / "docs/STREAMING.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", page, re.S)
    assert len(blocks) >= 3
    url = urllib.parse.urlsplit(here.url)
    user.register(SHELL, name="count")
    script = "\n".join(blocks).replace("127.0.0.1:8080", url.netloc)
    env = {**here.env, "FAAS_URL": here.url, "FAAS_TOKEN": user.token, "PATH": f"{conftest.BIN}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=env, cwd=conftest.ROOT, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.count("3\n") >= 2 and 'event: end\ndata: {"call_id"' in done.stdout, done.stdout
