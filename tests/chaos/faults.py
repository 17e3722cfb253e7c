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


def cut(world, rng, target):
    """One NATS server and the others do not hear each other; every client hears all of them."""
    partition(world, rng, target, False)


def alone(world, rng, target):
    """Nobody hears one NATS server, and it hears nobody."""
    partition(world, rng, target, True)


def partition(world, rng, target, from_clients):
    world.cut([number_of(target)], from_clients)
    time.sleep(rng.choice((0.5, 2.0, 6.0)))  # the fault itself
    world.heal()


def disk(world, rng, target):
    world.fill_disk(number_of(target))
    time.sleep(rng.choice((1.0, 4.0, 8.0)))  # the fault itself
    world.empty_disk(number_of(target))


def clock(world, rng, target):
    """Everybody's clock of the day is wrong for a while, and then right again: two steps."""
    world.step_clock(rng.choice((-7200, -90, -3, 3, 90, 7200)))
    time.sleep(rng.choice((1.0, 3.0)))  # the fault itself
    world.step_clock(0)


def number_of(target):
    return int(target.split("-")[1])


DEEDS = {"kill": kill, "stop": stop, "restart": restart, "cut": cut, "alone": alone, "disk": disk, "clock": clock}
PLAIN = [(kind, service) for kind in ("kill", "stop", "restart") for service in (*SERVICES, "nats")]
ALL = [*PLAIN, *((kind, "nats") for kind in ("cut", "alone", "disk")), ("clock", "faas")]


class Faults:
    def __init__(self, world, rng, say):
        self.world, self.rng, self.say, self.hits = world, rng, say, []

    def one(self, kind, service):
        """Does it to one process of the service, and waits until the platform is whole again."""
        names = sorted(p["name"] for p in self.world.processes(service))
        target = self.rng.choice(names) if names else "everybody"
        pid = self.world.pid(target) if names else None
        hit = Hit(kind, target, time.monotonic())
        self.hits.append(hit)
        DEEDS[kind](self.world, self.rng, target)
        hit.over = time.monotonic()
        if kind in ("kill", "restart"):
            wait_until(lambda: self.world.pid(target) not in (pid, None), RECOVER_S, f"{target} is replaced")
        wait_until(self.world.is_whole, RECOVER_S, f"the platform is whole again after {kind} of {target}")
        hit.whole = time.monotonic()
        self.say(f"{kind} {target}: {hit.over - hit.begun:.2f} s, whole after {hit.whole - hit.over:.2f} s")
