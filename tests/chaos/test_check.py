"""The checker finds each thing it is there for, and nothing in a good history.  Run: python3 -m pytest tests/chaos"""
import pytest

import check
from faults import Hit
from load import Call
from queued import Job
from writes import Known, Op

KILLED = Hit("kill", "spawner-1", 10.0, 10.0, 10.2)
GATEWAY = Hit("kill", "gateway-1", 10.0, 10.0, 10.2)


def call(kind="count", key="k", sent=10.0, took=0.1, **more):
    return Call(kind, key, 0, sent, sent + took, **{"status": 200, **more})


def lost(kind="count", **more):
    return call(kind, status=502, code="lost", may_have_run=True, **more)


def found(calls, runs=None, hits=(), ops=(), wrong_writes=(), is_timed=False):
    """Kinds of what is wrong."""
    verdict = check.check(calls, ops, {c.key: 1 for c in calls if c.kind == "count"} if runs is None else runs, list(hits), wrong_writes, 0.0, 20.0, is_timed)
    return {text.split(":")[0] for text in verdict.wrong}


def test_a_good_history_is_good():
    assert found([call(), call("plain", "p"), call("slow", "s")]) == set()


@pytest.mark.parametrize("kind, calls, runs, hits", [
    ("doubled", [call()], {"k": 2}, []),
    ("doubled", [lost()], {"k": 2}, [KILLED]),
    ("uncounted", [call()], {}, []),
    ("crossed", [call("plain", code="crossed")], {}, []),
    ("unanswered", [call("plain", status=0, code="broken")], {}, []),
    ("unanswered", [call("plain", status=0, code="silent")], {}, [KILLED]),
    ("untrue", [call(status=503, code="unavailable")], {"k": 1}, []),
    ("refused", [call(status=503, code="unavailable")], {}, []),
    ("failed", [call("plain", status=503, code="unavailable")], {}, []),
    ("failed", [lost()], {}, []),
    ("failed", [lost()], {}, [GATEWAY]),
    ("failed", [call(status=502, code="lost")], {}, [KILLED]),
    ("failed", [lost("plain")], {}, [KILLED]),
    ("failed", [call("plain", status=500, code="internal")], {}, [KILLED]),
    ("invented", [], {"nobody": 1}, []),
])
def test_what_must_not_be_is_found(kind, calls, runs, hits):
    assert found(calls, runs, hits) == {kind}


def test_what_may_be_is_not_wrong():
    assert found([lost()], {"k": 1}, [KILLED]) == set()
    assert found([lost()], {}, [KILLED]) == set()
    assert found([lost()], {}, [Hit("stop", "publisher-1", 10.0, 14.0, 14.0)]) == set()
    assert found([lost("plain")], {}, [Hit("stop", "publisher-1", 10.0, 14.0, 14.0)]) == {"failed"}
    assert found([call("plain", status=0, code="broken")], {}, [GATEWAY]) == set()
    assert found([call("plain", status=499, code="client_gone")], {}, [GATEWAY]) == set()
    assert found([call("plain", status=499, code="client_gone")], {}, []) == {"unanswered"}


def test_a_restarted_gateway_excuses_nothing():
    assert found([call("plain", status=0, code="broken")], {}, [Hit("restart", "gateway-1", 10.0, 10.0, 10.5)]) == {"unanswered"}


def test_another_gateways_death_excuses_nothing():
    assert found([call("plain", status=0, code="broken")], {}, [Hit("kill", "gateway-2", 10.0, 10.0, 10.5)]) == {"unanswered"}


def test_bounds_of_time():
    answers = [call("plain", str(n), n / 2) for n in range(40)]
    writes = [Op("update", "w", 0, n * 5.0, "v", n * 5.0, 200) for n in range(5)]
    assert found(answers, {}, ops=writes, is_timed=True) == set()
    assert found(answers[:10] + answers[14:], {}, ops=writes, is_timed=True) == {"too long"}
    assert found(answers, {}, ops=writes[:2] + writes[4:], is_timed=True) == {"too long"}
    assert found([*answers, lost(took=4.0)], {}, [KILLED], writes, is_timed=True) == {"too long"}


def test_known_times_do_not_count_as_gaps():
    answers = [call("plain", str(n), n / 2) for n in [*range(10), *range(16, 40)]]
    writes = [Op("update", "w", 0, n * 5.0, "v", n * 5.0, 200) for n in range(5)]
    assert found(answers, {}, [Hit("cut", "nats-1", 4.6, 5.6, 6.0)], writes, is_timed=True) == set()
    assert found(answers, {}, [Hit("disk", "nats-1", 4.6, 5.6, 6.0)], writes, is_timed=True) == {"too long"}


def job(kind="count", key="k", status=202, end="succeeded", **more):
    return Job(kind, key, 0, 10.0, 10.1, status, call_id="id", **{"end": end, "is_result_right": end == "succeeded", **more})


def found_in(jobs, runs, hits=()):
    verdict = check.check([], [], runs, list(hits), [], 0.0, 20.0, jobs=jobs)
    return {text.split(":")[0] for text in verdict.wrong}


@pytest.mark.parametrize("kind, one, ran, hits", [
    ("job lost", job(end="", why="404"), 0, [KILLED]),
    ("job lost", job("plain", end=""), 0, []),
    ("doubled", job(), 2, []),
    ("doubled", job(status=0, code="broken", end=""), 2, [GATEWAY]),
    ("uncounted", job(), 0, []),
    ("crossed", job("plain", is_result_right=False), 0, []),
    ("job failed", job("plain", end="dead", why="lost"), 0, [KILLED]),
    ("job failed", job(end="dead", why="lost"), 1, []),
    ("untrue", job(status=503, code="unavailable", detail="no room", end=""), 1, [Hit("disk", "nats-1", 9.0, 11.0, 11.0)]),
    ("job refused", job(status=503, code="unavailable", detail="no room", end=""), 0, []),
    ("job refused", job(status=500, code="internal", detail="?", end=""), 0, [Hit("disk", "nats-1", 9.0, 11.0, 11.0)]),
    ("unanswered", job(status=0, code="broken", end=""), 0, []),
])
def test_what_must_not_be_of_queued_calls_is_found(kind, one, ran, hits):
    assert found_in([one], {one.key: ran} if ran else {}, hits) == {kind}


def test_what_may_be_of_queued_calls_is_not_wrong():
    full = Hit("disk", "nats-1", 9.0, 11.0, 11.0)
    assert found_in([job(), job("plain", "p")], {"k": 1}) == set()
    assert found_in([job(end="dead", why="lost")], {"k": 1}, [KILLED]) == set()
    assert found_in([job(status=503, code="unavailable", detail="no room", end="")], {}, [full]) == set()
    assert found_in([job(status=0, code="broken", end="")], {"k": 1}, [GATEWAY]) == set()


def test_writes():
    assert found([], {}, ops=[Op("update", "w", 0, 1.0, "v", 2.0, 503, "no")]) == {"write failed"}
    assert found([], {}, ops=[Op("update", "w", 0, 1.0, "v", 2.0, 0, "broken")]) == {"write failed"}
    assert found([], {}, wrong_writes=[(None, "text")]) == {"write lost"}


def test_known_values():
    known = Known()
    known.wrote("a")
    assert known.read("a") and not known.read(None)
    known.wrote("b")
    known.may_write("c")
    assert known.read("b") and known.read("c") and not known.read("b")  # once, and never back


def test_outages_are_told_by_their_fault():
    hits = [Hit("kill", "nats-1", 10.0), Hit("kill", "auth-1", 11.0), Hit("stop", "nats-2", 14.0, 15.0, 15.0), Hit("kill", "auth-1", 16.0)]
    calls = [call("plain", f"p{n}", sent=n / 10, took=0.0) for n in range(200) if n not in range(101, 105) and n not in range(112, 120) and n not in range(141, 149)]
    figures = check.check(calls, [], {}, hits, [], 0.0, 20.0).figures
    assert figures["gap after a NATS server's kill s"] == [0.5, 0.5] and figures["gap after a NATS server's stop s"] == [0.9, 0.9]
