"""Functions that misbehave in every way a program can, and what their callers are told."""
import concurrent.futures
import os
import re
import socket
import subprocess
import time

import pytest

from support import wait_until


def containers(platform, call_id):
    done = subprocess.run(["docker", "ps", "-aq", "--filter", f"label=faas.call={call_id}"], env=platform.env, text=True, capture_output=True, check=True)
    return done.stdout.split()


def test_exit_status_is_told(client, functions):
    doc = client.call("fail", "exit 3 went wrong").problem(502, "function_failed")
    assert doc["exit_code"] == 3 and "went wrong" in doc["stderr"] and doc["component"] == "function" and doc["call_id"], doc


def test_a_signal_is_told(client, functions):
    doc = client.call("fail", "signal 11").problem(502, "function_failed")
    assert doc["signal"] == 11 and not doc.get("oom"), doc


def test_running_out_of_memory_is_told(other):
    name = other.register("faas-tests/fail:latest", limits={"memory_mb": 32})
    doc = other.call(name, "oom").problem(502, "function_failed")
    assert doc["oom"] is True, doc
    assert "memory" in doc["detail"], doc


def test_nothing_printed_is_an_empty_answer(client, functions):
    answer = client.call("fail", "nothing")
    assert (answer.status, answer.body) == (200, b"")


def test_stderr_is_not_part_of_the_result(client, functions):
    answer = client.call("fail", "stderr 5000")
    assert (answer.status, answer.body) == (200, b"")


def test_binary_output_comes_back_byte_for_byte(client, functions):
    answer = client.call("fail", "bytes 3000000")
    assert answer.status == 200 and len(answer.body) == 3000000
    assert answer.headers["Content-Type"] in ("application/octet-stream", "text/plain; charset=utf-8")
    assert client.call("fail", "bytes 3000000").body == answer.body


def test_twenty_megabytes_are_refused_by_default_and_delivered_when_allowed(other, promise):
    name = other.register("faas-tests/fail:latest", limits={"output_mb": 6})
    doc = other.call(name, "bytes 20000000").problem(507, "output_too_large")
    assert "output_mb" in doc["detail"], doc
    roomy = other.register("faas-tests/fail:latest", limits={"output_mb": 24})
    answer = other.call(roomy, "bytes 20000000")
    assert answer.status == 200 and len(answer.body) == 20000000
    assert answer.body[:3000000] == other.call(roomy, "bytes 3000000").body
    promise(23, "a result of 20000000 bytes is refused over its bound, whole within it")


def test_a_function_that_outlives_its_timeout_is_dead_before_the_answer(platform, other, promise):
    name = other.register("faas-tests/fail:latest", timeout_ms=700)
    answer = other.call(name, "sleep 30000")
    doc = answer.problem(504, "timeout")
    assert "700" in doc["detail"], doc
    ids = subprocess.run(["docker", "ps", "-aq", "--filter", f"label=faas.call={doc['call_id']}"], env=platform.env, text=True, capture_output=True).stdout.split()
    # The list of running containers trails what the engine knows of each.
    running = subprocess.run(["docker", "inspect", "-f", "{{.State.Running}}", *ids], env=platform.env, text=True, capture_output=True)
    assert "true" not in running.stdout, "the container was still running when the 504 was sent"
    promise(24, "0 containers run when the 504 comes")


def test_x_timeout_may_only_shorten(other):
    name = other.register("faas-tests/fail:latest", timeout_ms=2000)
    other.call(name, "sleep 30000", headers={"X-Timeout": "300"}).problem(504, "timeout")
    begun = time.monotonic()
    other.call(name, "sleep 30000", headers={"X-Timeout": "60000"}).problem(504, "timeout")
    assert time.monotonic() - begun < 20


def test_closing_stdout_and_lingering_waits_for_the_exit(client, functions):
    answer = client.call("fail", "close-and-sleep 600")
    assert answer.status == 200 and float(answer.headers["X-Duration-Ms"]) >= 600


def test_forking_and_leaving_ends_with_the_parent(client, functions):
    begun = time.monotonic()
    answer = client.call("fail", "fork-and-leave 60000")
    assert answer.status == 200 and time.monotonic() - begun < 30


def test_an_entrypoint_that_does_not_exist_is_start_failed(client, functions):
    doc = client.call("badexec", "x").problem(502, "start_failed")
    assert doc["detail"], doc


def test_command_rules_of_images(client, functions):
    assert client.call("cmdonly", "arg").body == b"prefix|arg", client.call("cmdonly", "arg").text
    assert client.call("entrycmd", "arg").body == b"arg"
    assert client.call("shellcmd", "arg").status == 200


def test_stdin_input_takes_any_bytes(other):
    name = other.register("faas-tests/fail:latest", input="stdin", limits={"output_mb": 8})
    for body in (b"", b"\x00\xff binary \xfe", os.urandom(900000)):
        answer = other.post(f"/function/{name}", body)
        assert answer.status == 200 and answer.body == body, (answer.status, len(answer.body), answer.text[:200])


def test_user_environment_and_directory_of_the_image_are_honoured(client, functions):
    answer = client.call("volumeuser", "id")
    assert answer.status == 200 and "1234" in answer.text, answer.text


def test_a_volume_of_the_image_is_writable_and_empty_in_every_call(client, functions):
    for _ in range(3):
        answer = client.call("volumeuser", "x")
        assert answer.status == 200 and "\nvolume=mounted\nheld=\nwritten=kept\nran=yes\n" in answer.text, answer.text


def test_volumes_that_cannot_be_are_refused_at_registration(platform, other):
    build = subprocess.run(["docker", "build", "-q", "-t", "faas-tests/bad-volume", "-"], env=platform.env, text=True, capture_output=True,
                           input="FROM faas-tests/volume-user\nVOLUME /proc/self\n")
    assert build.returncode == 0, build.stderr
    refused = other.post("/registry/register", {"name": "bad", "payload": "faas-tests/bad-volume:latest"}).problem(422, "unprocessable")
    assert "VOLUME /proc/self: cannot be a volume" in refused["detail"], refused


def test_files_of_a_function_are_readable_to_its_other_users(other):
    assert other.call(other.register("faas-tests/sh:latest"), "umask").text == "0022\n"


def test_the_report_example_shows_a_confined_function(other):
    name = other.register("faas-examples/report:latest", env={"GREETING": "hello world"})
    answer = other.call(name, "x")
    assert answer.status == 200 and "GREETING=hello world" in answer.text, answer.text
    assert "NATS" not in answer.text and "DOCKER" not in answer.text and "uid=0" not in answer.text, answer.text


def test_a_client_that_leaves_ends_its_call(platform, client, functions, promise):
    body = b'{"name":"fail","argument":"sleep 25000"}'
    with socket.create_connection((client.url.hostname, client.url.port)) as s:
        s.sendall(b"POST /publisher/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + client.token.encode()
                  + b"\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body)
        wait_until(lambda: platform.running(), 20, "the container runs")
    wait_until(lambda: not platform.running(), 10, "the container is gone after its client left")
    promise(25, "0 containers run after the client left")


def test_no_container_is_left_behind(platform, client, functions, promise):
    call_ids = [client.call("fail", a).headers["X-Call-Id"] for a in ("exit 1", "nothing", "signal 9")]
    for call_id in call_ids:
        wait_until(lambda c=call_id: containers(platform, c) == [], 10, "containers are removed")
    promise(25, "0 containers left of 3 calls that failed")


def test_failures_do_not_use_up_slots(client, functions):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: client.call("fail", "exit 1").status, range(40)))
    assert set(got) <= {502}, got
    assert client.call("echo", "still here").body == b"still here"


def test_concurrency_of_a_function_is_capped_with_retry_after(other, promise):
    name = other.register("faas-tests/fail:latest", concurrency=2)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: other.call(name, "sleep 2500"), range(8)))
    statuses = sorted(a.status for a in got)
    assert statuses.count(200) == 2 and statuses.count(429) == 6, statuses
    busy = next(a for a in got if a.status == 429)
    busy.problem(429, "busy")
    assert int(busy.headers["Retry-After"]) >= 1
    promise(38, "2 of 8 calls run at a cap of 2, 6 refused with Retry-After")


def test_max_wait_queues_instead(other):
    name = other.register("faas-tests/fail:latest", concurrency=1, max_wait_ms=20000)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda _: other.call(name, "sleep 200").status, range(4)))
    assert got == [200] * 4


def test_many_short_calls_lose_no_output(client, functions):
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda i: client.call("echo", f"n{i}").body, range(60)))
    assert got == [f"n{i}".encode() for i in range(60)]


@pytest.mark.parametrize("reuse", ["fresh", "slot"])
def test_how_a_call_started_is_told(other, platform, reuse):
    name = other.register("faas-tests/sh:latest", reuse=reuse)
    answers = [other.call(name, "ls -A /tmp; touch /tmp/left; echo done") for _ in range(6)]
    assert [a.text for a in answers] == ["done\n"] * 6, [a.text for a in answers]
    starts = {a.headers["X-Start"] for a in answers}
    if not platform.is_native:
        assert starts == {"cold"}
    elif reuse == "slot":
        assert "warm" in starts and starts <= {"cold", "warm"}
    else:
        assert starts <= {"cold", "prewarmed"}


@pytest.mark.parametrize("argument", ["exit 0"])
def test_server_timing_has_its_parts(client, functions, argument):
    timing = client.call("fail", argument).headers["Server-Timing"]
    for part in ("queue", "place", "start", "run"):
        assert re.search(rf"\b{part};dur=[0-9.]+", timing), timing


def test_the_type_of_results_can_be_set(other):
    name = other.register("faas-tests/sh:latest", content_type="image/svg+xml")
    for headers in ({}, {"X-Stream": "true"}):
        called = other.post(f"/function/{name}", "printf '<svg/>'", headers=headers)
        assert (called.status, called.body, called.headers["Content-Type"]) == (200, b"<svg/>", "image/svg+xml")
        assert called.headers["Content-Security-Policy"] == "sandbox"
    queued = other.post(f"/async-function/{name}", "printf '<svg/>'").json["call_id"]
    assert other.get(f"/v1/calls/{queued}?wait=60").json["status"] == "succeeded"
    assert other.get(f"/v1/calls/{queued}/result").headers["Content-Type"] == "image/svg+xml"
    failed = other.post(f"/function/{name}", "exit 3")
    assert (failed.status, failed.headers["Content-Type"]) == (502, "application/problem+json")
    assert other.request("PATCH", f"/v1/functions/{name}", {"content_type": None}).json["content_type"] == ""
    called = other.post(f"/function/{name}", "printf x")
    assert called.headers["Content-Type"] == "text/plain; charset=utf-8" and "Content-Security-Policy" not in called.headers
    refused = other.request("PATCH", f"/v1/functions/{name}", {"content_type": "text/html\r\nX-A: b"})
    assert refused.status == 400 and "content_type" in refused.json["detail"]
