"""What is done to the platform.  A fault is done, lasts, and is over; who was hit, and when, is what excuses a client's broken connection."""
import dataclasses
import os
import signal
import time

from world import SERVICES, wait_until

RECOVER_S = 60


@dataclasses.dataclass
class Hit:
    """A fault that happened; times are of time.monotonic(), whole: when the platform was whole again."""
    kind: str
    target: str  # "gateway-1"
    begun: float
    over: float = 0.0
    whole: float = 0.0


def kill(world, rng, target):
    os.kill(world.pid(target), signal.SIGKILL)


def stop(world, rng, target):
    """Frozen for 0.1 to 4 s: shorter and longer than all that others wait before they give it up."""
    pid = world.pid(target)
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(rng.choice((0.1, 0.4, 0.8, 1.5, 2.5, 4.0)))  # the fault itself
    finally:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass  # the supervisor killed it: a NATS server


def restart(world, rng, target):
    os.kill(world.pid(target), signal.SIGTERM)


DEEDS = {"kill": kill, "stop": stop, "restart": restart}
# Every process once with each of these is what the short form does.
PLAIN = [(kind, service) for kind in ("kill", "stop", "restart") for service in (*SERVICES, "nats")]


class Faults:
    def __init__(self, world, rng, say):
        self.world, self.rng, self.say, self.hits = world, rng, say, []

    def one(self, kind, service):
        """Does it to one process of the service, and waits until the platform is whole again."""
        target = self.rng.choice(sorted(p["name"] for p in self.world.processes(service)))
        pid = self.world.pid(target)
        hit = Hit(kind, target, time.monotonic())
        self.hits.append(hit)
        DEEDS[kind](self.world, self.rng, target)
        hit.over = time.monotonic()
        if kind in ("kill", "restart"):
            wait_until(lambda: self.world.pid(target) not in (pid, None), RECOVER_S, f"{target} is replaced")
        wait_until(self.world.is_whole, RECOVER_S, f"the platform is whole again after {kind} of {target}")
        hit.whole = time.monotonic()
        self.say(f"{kind} {target}: {hit.over - hit.begun:.2f} s, whole after {hit.whole - hit.over:.2f} s")
