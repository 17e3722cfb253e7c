"""The load of queued calls: each has an argument of its own, each 202 is remembered, and afterwards every accepted one's end is read."""
import dataclasses
import http.client
import itertools
import json
import threading
import time

from load import CONNECT_PAUSE_S, Line

KINDS = ("plain", "count")
ENDED = {"succeeded", "failed", "refused", "cancelled", "lost", "dead"}
SETTLE_S = 120  # all that was accepted has ended by then
PLANTED_S = 15  # where some is lost on purpose
WAIT_S = 10     # of one question


@dataclasses.dataclass
class Job:
    """One queued call as its client saw it; times are of time.monotonic()."""
    kind: str
    key: str
    gateway: int
    sent: float
    ended: float = 0.0   # answered
    status: int = 0      # of the answer; 0: none
    code: str = ""
    detail: str = ""
    call_id: str = ""
    end: str = ""        # status of the call at last; "": it did not end
    why: str = ""        # code of its end
    is_result_right: bool = False

    @property
    def is_accepted(self):
        return self.status == 202

    @property
    def took(self):
        return self.ended - self.sent


class Queuer(threading.Thread):
    """One client of one gateway that queues calls, one after the other."""

    def __init__(self, name, gateway, port, token, counter, per_s):
        super().__init__(daemon=True)
        self.label, self.gateway, self.per_s, self.counter = name, gateway, per_s, counter
        self.line, self.jobs, self.must_stop = Line(port, token), [], threading.Event()

    def run(self):
        for number in itertools.count():
            if self.must_stop.wait(1 / self.per_s):
                break
            self.one(KINDS[number % len(KINDS)], f"{self.label}-{number}")
        self.line.close()

    def argument(self, job):
        return (f"count:{self.counter} " if job.kind == "count" else "plain ") + job.key

    def one(self, kind, key):
        while not self.line.connect():
            if self.must_stop.wait(CONNECT_PAUSE_S):
                return
        job = Job(kind, key, self.gateway, time.monotonic())
        self.jobs.append(job)
        try:
            job.status, _, body = self.line.ask("POST", f"/async-function/{kind}", self.argument(job).encode())
        except TimeoutError:
            job.code = "silent"
        except (OSError, http.client.HTTPException) as error:
            job.code, job.detail = "broken", repr(error)
        else:
            said = json.loads(body)
            job.call_id, job.code, job.detail = said.get("call_id", ""), said.get("code", ""), said.get("detail", "")
        job.ended = time.monotonic()


class Queue:
    """per_s: calls a second at each gateway."""

    def __init__(self, world, user, seed, per_s):
        self.user = user
        self.queuers = [Queuer(f"{seed}.queue{gateway}", gateway, world.port(gateway), user.token, world.counter_address, per_s)
                        for gateway in range(len(world.gateways))]

    def start(self):
        for queuer in self.queuers:
            queuer.start()

    def jobs(self):
        return [job for queuer in self.queuers for job in queuer.jobs]

    def stop(self):
        for queuer in self.queuers:
            queuer.must_stop.set()
        for queuer in self.queuers:
            queuer.join()

    def settle(self, seconds=SETTLE_S):
        """Reads the end of all that was accepted; all jobs."""
        until = time.monotonic() + seconds
        for queuer in self.queuers:
            for job in queuer.jobs:
                while job.is_accepted and not job.end and time.monotonic() < until:
                    self.look(job, queuer.argument(job), until)
        return self.jobs()

    def look(self, job, argument, until):
        answer = self.user.get(f"/v1/calls/{job.call_id}?wait={min(WAIT_S, max(1, int(until - time.monotonic())))}")
        if answer.status != 200:
            job.why = f"{answer.status} {answer.text[:200]}"
            time.sleep(CONNECT_PAUSE_S)
            return
        record = json.loads(answer.body)
        if record["status"] in ENDED:
            job.end, job.why = record["status"], record.get("code") or ""
            result = self.user.get(f"/v1/calls/{job.call_id}/result")
            job.is_result_right = result.status == 200 and result.body == f"done {argument}".encode()
