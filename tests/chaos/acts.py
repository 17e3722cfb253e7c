"""What is not a round: the quorum is gone for a while; ten times as many calls as there is room for; all disks of the store full.  Each returns figures and what is wrong."""
import http.client
import statistics
import threading
import time

import check
from faults import Hit
from load import Line
from queued import Queue
from world import Client, wait_until

SETTLE_S = 60
UNLED_S = 90  # a leader that is left alone notices after 10 to 20 s, and without one memory serves on for up to 30 s


def statuses(world, path):
    found = []
    for url in world.gateways:
        try:
            found.append(Client(url).get(path, timeout=30).status)
        except OSError:
            found.append(0)
    return found


def quorum(world, user):
    """All NATS servers are cut off from each other: nobody leads.  Readiness fails, and comes back by itself."""
    paths = ("/healthz", "/registry/health", "/auth/health")
    begin, wrong, figures = time.monotonic(), [], {}
    world.cut(world.numbers())
    try:
        wait_until(lambda: all(set(statuses(world, path)) <= {503, 504} for path in paths), UNLED_S, "readiness fails without a quorum")
        figures["readiness failed after s"] = round(time.monotonic() - begin, 1)
    except AssertionError as error:
        wrong.append(f"quorum: {error}: {[statuses(world, path) for path in paths]}")
    world.heal()
    begin = time.monotonic()
    wait_until(lambda: all(set(statuses(world, path)) == {200} for path in paths), SETTLE_S, "readiness is back")
    wait_until(lambda: user.call("plain", "plain after") and user.call("plain", "plain after").body == b"done plain after", SETTLE_S, "calls succeed again")
    wait_until(world.is_whole, SETTLE_S, "the platform is whole again")
    figures["ready again after s"] = round(time.monotonic() - begin, 1)
    return figures, wrong


def disk(world, user):
    """The disks of all NATS servers are full: nothing is queued, and that is said; with room again it is, and all that was accepted ends."""
    queue = Queue(world, user, "disk", 8)
    queue.start()

    def answered_since(begin, status):
        """Each gateway's clients got that answer."""
        return all(any(job.sent > begin and job.status == status for job in queuer.jobs) for queuer in queue.queuers)

    wait_until(lambda: answered_since(0, 202), SETTLE_S, "calls are queued")
    begin, figures = time.monotonic(), {}
    hits = [Hit("disk", f"nats-{number}", begin) for number in world.numbers()]
    for number in world.numbers():
        world.fill_disk(number)
    wait_until(lambda: answered_since(begin, 503), SETTLE_S, "no call is queued without room")
    figures["refused after s"] = round(time.monotonic() - begin, 1)
    for number in world.numbers():
        world.empty_disk(number)
    room = time.monotonic()
    wait_until(lambda: answered_since(room, 202), SETTLE_S, "calls are queued again")
    figures["queued again after s"] = round(time.monotonic() - room, 1)
    wait_until(world.is_whole, SETTLE_S, "the platform is whole again")
    queue.stop()
    for hit in hits:
        hit.over, hit.whole = room, time.monotonic()
    verdict = check.check([], [], world.runs(), hits, [], begin, time.monotonic(), jobs=queue.settle())
    return figures | {key: value for key, value in verdict.figures.items() if key.startswith("job")}, verdict.wrong


class Crowd:
    """So many clients that call one function as fast as they are answered, or after a pause: what each call came to."""

    def __init__(self, world, token, name, argument, clients, pause_s):
        self.name, self.argument, self.pause_s = name, argument, pause_s
        self.lines = [Line(world.port(n % len(world.gateways)), token) for n in range(clients)]
        self.got, self.must_stop = [], threading.Event()
        self.threads = [threading.Thread(target=self.call, args=(line,), daemon=True) for line in self.lines]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.must_stop.set()
        for thread in self.threads:
            thread.join()

    def call(self, line):
        while not self.must_stop.is_set():
            sent = time.monotonic()
            try:
                line.connect()
                status, headers, _ = line.ask("POST", f"/function/{self.name}", self.argument.encode())
                self.got.append((sent, time.monotonic() - sent, status, headers.get("Retry-After")))
            except (OSError, http.client.HTTPException) as error:
                self.got.append((sent, time.monotonic() - sent, 0, repr(error)))
            self.must_stop.wait(self.pause_s)


def p95(took):
    return statistics.quantiles(took, n=20)[-1] if len(took) > 1 else took[0]


def overload(world, user, seconds, slots):
    """slots: places of all spawners.  Calls take 0.4 s, so clients that pause 0.4 s ask for 10 x as many places."""
    user.register("chaos:1", "crowded")  # no max_wait_ms: without a place it is refused
    with Crowd(world, user.token, "crowded", "slow calm", slots // 2, 0.0) as calm:
        time.sleep(4)  # as long as what is measured
    usual = p95([took for _, took, status, _ in calm.got if status == 200])
    with Crowd(world, user.token, "crowded", "slow crowd", slots * 10, 0.2) as crowd:
        time.sleep(seconds)
        end = time.monotonic()
    accepted = [took for _, took, status, _ in crowd.got if status == 200]
    refused = [answer for answer in crowd.got if answer[2] in (429, 503)]
    wrong = []
    others = {(status, why if status == 0 else "") for _, _, status, why in crowd.got} - {(200, "")} - {(s, "") for s in (429, 503)}
    if others:
        wrong.append(f"overload: neither answered nor refused: {sorted(others)}")
    if any(after is None for _, _, _, after in refused):
        wrong.append("overload: a refusal without Retry-After")
    if p95(accepted) > 3 * usual:
        wrong.append(f"overload: accepted calls took {p95(accepted):.2f} s (p95), before it {usual:.2f} s")
    wait_until(lambda: user.call("crowded", "slow after").status == 200, SETTLE_S, "calls are accepted after the overload")
    back = time.monotonic() - end
    if back > 5:
        wrong.append(f"overload: normal only {back:.1f} s after it")
    return {"accepted": len(accepted), "refused": len(refused), "usual p95 s": round(usual, 2), "accepted p95 s": round(p95(accepted), 2),
            "normal after s": round(back, 1)}, wrong
