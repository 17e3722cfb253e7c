"""faas bench: calls that are made, counted and timed."""
import json
import re
import signal
import subprocess

import pytest

from support import Client, wait_until


@pytest.fixture(scope="module")
def user(platform):
    client = Client.new(platform.url)
    client.register("faas-examples/echo:latest", "echo")
    client.register("faas-tests/fail:latest", "fail")
    return client


def command(platform, user, *args):
    return {"args": [platform.faas, "bench", *args], "text": True,
            "env": {**platform.env, "FAAS_URL": platform.url, "FAAS_TOKEN": user.token}}


def bench(platform, user, *args, status=0):
    done = subprocess.run(**command(platform, user, *args), capture_output=True, timeout=120)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done


def calls_of(user, function):
    return len(user.get(f"/v1/calls?function={function}&limit=200").json["items"])


def test_every_call_that_is_counted_was_made(platform, user):
    doc = json.loads(bench(platform, user, "echo", "hi", "--rate", "10", "--duration-s", "2", "--concurrency", "4", "--json").stdout)
    assert 0 < doc["calls"] <= 20 and doc["failed"] == 0 and doc["errors"] == {} and doc["concurrency"] == 4, doc
    latency = doc["latency_us"]
    assert 0 < latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"], latency
    wait_until(lambda: calls_of(user, "echo") == doc["calls"], 20, "a record for each call")


def test_the_report_counts_what_it_draws(platform, user):
    shown = bench(platform, user, "echo", "--duration-s", "1", "--concurrency", "2").stdout
    calls = int(re.match(r"(\d+) calls in [0-9.]+ s: [0-9.]+ a second, 2 at a time; 0 failed\n", shown)[1])
    assert calls > 0 and sum(int(n) for n in re.findall(r"^  < \S+ m?s +(\d+) +[0-9.]+% ", shown, re.M)) == calls, shown
    assert re.search(r"^min \S+ m?s  p50 \S+ m?s  p90 \S+ m?s  p99 \S+ m?s  max \S+ m?s$", shown, re.M), shown


def test_failures_are_counted_by_their_code(platform, user):
    done = bench(platform, user, "fail", "exit 3 sad", "--rate", "5", "--duration-s", "1", "--json", status=1)
    doc = json.loads(done.stdout)
    assert doc["calls"] > 0 and (doc["failed"], doc["errors"], doc["latency_us"]) == (doc["calls"], {"function_failed": doc["calls"]}, {}), doc


def test_what_cannot_succeed_ends_at_once(platform, user):
    done = bench(platform, user, "nothing", "--duration-s", "600", status=4)
    assert "no function" in done.stderr, done.stderr
    assert "--concurrency" in bench(platform, user, "echo", "--concurrency", "65", status=2).stderr


def test_an_interrupt_ends_it_with_a_report(platform, user):
    name = user.register("faas-examples/echo:latest")
    running = subprocess.Popen(**command(platform, user, name, "--rate", "5", "--duration-s", "600", "--json"), stdout=subprocess.PIPE)
    try:
        wait_until(lambda: calls_of(user, name) > 0, 30, "a call was made")
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 0 and json.loads(out)["calls"] >= 1, out
