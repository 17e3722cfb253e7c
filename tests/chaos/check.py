"""What must hold of a history: calls and writes as their clients saw them, runs as the counter saw them, faults as they were done.

Pure: no input, no output, no clock.
"""
import collections
import dataclasses
import math

QUIET_S = 5.0  # what a fault does may show so much later
# Bounds of time, for a run that has the machine to itself.
LOST_S = 3.0         # a lost call is reported within this, from the fault or from its sending
ANSWERS_GAP_S = 1.0  # no JetStream write lies on the path of calls
WRITES_GAP_S = 12.0  # an election of a stream's leader
OUTAGE_S = 3.0       # an outage that a NATS server's death or halt is the cause of begins within this
# What is known to be open, and why it is not called wrong; each is counted and printed.
KNOWN = {
    "cold publisher": "a publisher that has just started asks the store for a function; without a leader (an election) it refuses the call",
    "publisher gone": "a call that is not idempotent, that a publisher had when it was killed or stopped and had not placed for all its gateway knows, is reported as lost",
    "island": "calls between a NATS server that is cut off from the others and the rest, until it is back",
    "write unsure": "a write that died with its gateway, or with two processes, is told as such",
}
NOT_STARTED = {"busy", "unavailable"}  # what these say is that nothing was started


@dataclasses.dataclass
class Verdict:
    figures: dict
    wrong: list  # sentences: what must not be
    known: list = dataclasses.field(default_factory=list)  # likewise: what is of KNOWN


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def longest_gap(instants, begin, end, spans=()):
    """The longest time without one of these between begin and end, and when it began; what lies in the spans (begin, end) does not count."""
    points = [begin, *sorted(i for i in instants if begin <= i <= end), end]
    return max((b - a - covered(spans, a, b), a) for a, b in zip(points, points[1:]))


def outages(instants, hits, kind):
    """The longest time without one of these after each such fault of a NATS server, until the next fault; shortest first."""
    ends = [*(h.begun for h in hits[1:]), math.inf]
    return sorted(longest_gap(instants, h.begun, min(h.begun + OUTAGE_S, end))[0] for h, end in zip(hits, ends) if h.kind == kind and h.target.startswith("nats"))


def covered(spans, begin, end):
    """How much of a time lies in any of the spans."""
    total, at = 0.0, begin
    for a, b in sorted(spans):
        a, b = max(a, at), min(b, end)
        if b > a:
            total, at = total + b - a, b
    return total


def hits_during(hits, service, begin, end, number=None):
    """Faults of a service (of its instance) that overlap a time, with QUIET_S for what they leave behind."""
    return [h for h in hits if h.target.split("-")[0] == service and (number is None or h.target == f"{service}-{number}")
            and h.begun <= end and begin <= (h.whole or h.over or end) + QUIET_S]


def is_own_gateway(call, hits):
    """The gateway of this client was killed or stopped meanwhile: a broken connection is its own affair."""
    return any(h.kind in ("kill", "stop") for h in hits_during(hits, "gateway", call.sent, call.ended, call.gateway + 1))


def is_island(op, hits):
    return any(h.kind in ("cut", "alone") for h in hits_during(hits, "nats", op.sent, op.ended))


def judge_call(call, runs, hits, begin=0.0):
    """What is wrong with one call, or None."""
    name = f"at {call.sent - begin:.1f} s {call.kind} {call.key} ({call.call_id or 'no id'}, {call.took:.2f} s)"
    ran = runs.get(call.key, 0)
    if ran > 1:
        return "doubled", f"{name} ran {ran} times: {call.status} {call.code}"
    if call.code == "crossed":
        return "crossed", f"{name} was answered with {call.detail}"
    if call.status == 200:
        return ("uncounted", f"{name} was answered, but never ran") if call.kind == "count" and ran == 0 else None
    if call.code in ("broken", "silent", "client_gone"):  # publishers cancel the calls of a gateway that seems dead
        return None if is_own_gateway(call, hits) else ("unanswered", f"{name}: {call.code} {call.detail}")
    if call.code == "lost" and call.may_have_run:
        return judge_lost(call, name, hits)
    if call.code in NOT_STARTED and not call.may_have_run and ran > 0:
        return "untrue", f"{name} says {call.code}, nothing was started ({call.detail}), but it ran"
    if call.code in NOT_STARTED and is_island(call, hits):
        return "island", f"{name}: {call.status} {call.code} {call.detail}"
    if "store of functions does not answer" in call.detail and hits_during(hits, "nats", call.sent, call.ended):
        return "cold publisher", name
    if call.kind == "count" and call.code in NOT_STARTED:
        return "refused", f"{name}: {call.status} {call.code} {call.detail}"
    return "failed", f"{name}: {call.status} {call.code} {call.detail}"


def judge_lost(call, name, hits):
    causes = hits_during(hits, "spawner", call.sent, call.ended)
    if not causes and is_island(call, hits):
        return "island", f"{name}: lost: {call.detail}"
    if not causes and call.kind == "count" and any(h.kind in ("kill", "stop") for h in hits_during(hits, "publisher", call.sent, call.ended)):
        return "publisher gone", name
    if not causes:
        return "failed", f"{name}: lost, and no spawner was hit: {call.detail}"
    return None if call.kind == "count" else ("failed", f"{name}: lost, and not run again: {call.detail}")


def judge_job(job, runs, hits, begin=0.0):
    """What is wrong with one queued call, or None."""
    name = f"at {job.sent - begin:.1f} s queued {job.kind} {job.key} ({job.call_id or 'no id'}, {job.took:.2f} s)"
    ran = runs.get(job.key, 0)
    if ran > 1:
        return "doubled", f"{name} ran {ran} times: {job.end} {job.why}"
    if not job.is_accepted:
        return judge_refusal(job, name, ran, hits)
    if not job.end:
        return "job lost", f"{name} was accepted, and has no end: {job.why}"
    if job.end == "succeeded" and not job.is_result_right:
        return "crossed", f"{name} has another result"
    if job.end == "succeeded":
        return ("uncounted", f"{name} succeeded, but never ran") if job.kind == "count" and ran == 0 else None
    if job.kind == "count" and job.why == "lost" and hits:  # whenever it ran: its spawner or its publisher was hit then
        return None
    return "job failed", f"{name}: {job.end} {job.why}"


def judge_refusal(job, name, ran, hits):
    if job.code in ("broken", "silent"):
        return None if is_own_gateway(job, hits) else ("unanswered", f"{name}: {job.code} {job.detail}")
    if job.status == 504:  # it may be queued
        return None
    if ran > 0:
        return "untrue", f"{name} says {job.status} {job.code}, not queued ({job.detail}), but it ran"
    if job.status == 503 and job.code == "unavailable" and job.detail and any(
            hits_during(hits, service, job.sent, job.ended) for service in ("nats", "publisher", "gateway")):
        return None
    return "job refused", f"{name}: {job.status} {job.code} {job.detail}"


def lateness(call, hits):
    """How long after the fault, or its sending, a lost call was reported."""
    causes = [h for service in ("spawner", "publisher") for h in hits_during(hits, service, call.sent, call.ended)]
    return call.ended - max([call.sent] + [h.begun for h in causes if h.begun <= call.ended])


def latest_loss(calls, hits, between_islands, begin):
    """How late the latest report of a lost call was, and when that call was sent."""
    return max(((lateness(c, hits), c.sent) for c in calls if c.code == "lost" and is_island(c, hits) == between_islands), default=(0, begin))


def judge_op(op, hits, begin=0.0):
    """What is wrong with one write or read, or None."""
    text = f"at {op.sent - begin:.1f} s {op.what} {op.name} through gateway {op.gateway + 1} after {op.took:.2f} s: {op.status} {op.detail}"
    if op.is_acknowledged or (400 <= op.status < 500 and op.status != 429):
        return None
    if op.status == 0 and is_own_gateway(op, hits):
        return None
    if op.status == 504 or "shutting down" in op.detail:
        if any(hits_during(hits, service, op.sent, op.ended) for service in ("auth", "registry", "nats", "gateway")):
            return "write unsure", text
    return "write failed", text


def check(calls, ops, runs, hits, wrong_writes, begin, end, is_timed=False, jobs=()):
    """begin, end: when the load ran."""
    kinds, wrong, known = collections.Counter(), [], []
    islands = [(h.begun, (h.whole or h.over) + QUIET_S) for h in hits if h.kind in ("cut", "alone")]
    known_spans = list(islands)

    def note(verdict, call=None):
        if verdict:
            kinds[verdict[0]] += 1
            if call and verdict[0] in KNOWN:
                known_spans.append((call.sent, call.ended))
            (known if verdict[0] in KNOWN else wrong).append(f"{verdict[0]}: {verdict[1]}")

    for call in calls:
        note(judge_call(call, runs, hits, begin), call)
    for op in ops:
        note(judge_op(op, hits, begin))
    for job in jobs:
        note(judge_job(job, runs, hits, begin))
    for key in runs.keys() - {call.key for call in (*calls, *jobs)}:
        note(("invented", f"a run of {key}, which nobody asked for"))
    for op, text in wrong_writes:
        note(("write lost", f"at {op.sent - begin:.1f} s {text}" if op else text))
    good = [c for c in calls if c.status == 200]
    lost, apart = (latest_loss(calls, hits, where, begin) for where in (False, True))
    mutations = [op for op in ops if op.what in ("register", "update", "delete", "account") and op.is_acknowledged]
    instants = [c.ended for c in good if c.kind != "slow"]
    answers = longest_gap(instants, begin, end, known_spans)
    writes = longest_gap([op.ended for op in mutations], begin, end, islands)
    figures = {
        "calls": len(calls), "answered": len(good),
        "reported lost": sum(c.code == "lost" for c in calls),
        "latest report of a loss s": round(lost[0], 3),
        "broken with their gateway": sum(c.code in ("broken", "silent", "client_gone") and is_own_gateway(c, hits) for c in calls),
        **{kind: kinds[kind] for kind in ("unanswered", "failed", "refused", "untrue", "uncounted", "doubled", "crossed", "invented")},
        "jobs accepted": sum(job.is_accepted for job in jobs), "jobs refused": sum(job.status in (429, 503) for job in jobs),
        "jobs ended": sum(job.is_accepted and job.end != "" for job in jobs), "jobs reported lost": sum(job.why == "lost" for job in jobs),
        **{kind: kinds[kind] for kind in ("job lost", "job failed", "job refused")},
        "latest between islands s": round(apart[0], 3),
        "longest gap of answers s": round(answers[0], 3),
        **{f"gap after a NATS server's {kind} s": [round(percentile(outages(instants, hits, kind), share), 3) for share in (0.5, 0.99)]
           for kind in ("kill", "stop")},
        "p50 ms": round(percentile([c.took for c in good if c.kind != "slow"], 0.5) * 1000, 1),
        "p99 ms": round(percentile([c.took for c in good if c.kind != "slow"], 0.99) * 1000, 1),
        "slowest s": round(max((c.took for c in good), default=0), 3),
        "writes acknowledged": len(mutations), "writes lost": kinds["write lost"], "writes failed": kinds["write failed"],
        "longest gap of writes s": round(writes[0], 3),
        "slowest write s": round(max((op.took for op in mutations), default=0), 3),
    }
    if is_timed:
        wrong += [f"too long: {name} {figures[name]}, allowed {most}, from {at - begin:.1f} s on" for name, most, at in (
            ("latest report of a loss s", LOST_S, lost[1]), ("longest gap of answers s", ANSWERS_GAP_S, answers[1]),
            ("longest gap of writes s", WRITES_GAP_S, writes[1]))
            if figures[name] > most]
    figures.update({f"known: {kind}": kinds[kind] for kind in KNOWN})
    return Verdict(figures, wrong, known)
