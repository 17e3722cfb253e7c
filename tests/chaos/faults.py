"""What is done to the platform.  A fault is done, lasts, and is over; who was hit, and when, is what excuses a client's broken connection."""
import dataclasses
import os
import signal
import time

from world import SERVICES, wait_until

RECOVER_S = 60
CLOCK_S = 2


@dataclasses.dataclass
class Hit:
    """A fault that happened; times are of time.monotonic(), whole: when the platform was whole again."""
    kind: str
    target: str  # "gateway-1"
    begun: float
    over: float = 0.0
    whole: float = 0.0


def kill(world, target, seconds):
    os.kill(world.pid(target), signal.SIGKILL)


def stop(world, target, seconds):
    pid = world.pid(target)
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)  # the fault itself
    finally:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass  # the supervisor killed it: a NATS server


def restart(world, target, seconds):
    os.kill(world.pid(target), signal.SIGTERM)


def cut(world, target, seconds):
    """One NATS server and the others do not hear each other; every client hears all of them."""
    partition(world, target, seconds, False)


def alone(world, target, seconds):
    """Nobody hears one NATS server, and it hears nobody."""
    partition(world, target, seconds, True)


def partition(world, target, seconds, from_clients):
    world.cut([number_of(target)], from_clients)
    time.sleep(seconds)  # the fault itself
    world.heal()


def disk(world, target, seconds):
    world.fill_disk(number_of(target))
    time.sleep(seconds)  # the fault itself
    world.empty_disk(number_of(target))


def clock(world, target, seconds):
    """Everybody's clock of the day is so far off for a while, and then right again: two steps."""
    world.step_clock(seconds)
    time.sleep(CLOCK_S)  # the fault itself
    world.step_clock(0)


def number_of(target):
    return int(target.split("-")[1])


@dataclasses.dataclass
class Deed:
    do: object
    seconds: tuple = (0,)  # how long, one of these; for the clock: how far


# Frozen shorter and longer than all that others wait before they give somebody up.
DEEDS = {
    "kill": Deed(kill), "restart": Deed(restart), "stop": Deed(stop, (0.1, 0.4, 0.8, 1.5, 2.5, 4.0)),
    "cut": Deed(cut, (0.5, 2.0, 6.0)), "alone": Deed(alone, (0.5, 2.0, 6.0)), "disk": Deed(disk, (1.0, 4.0, 8.0)),
    "clock": Deed(clock, (-7200, -90, -3, 3, 90, 7200)),
}
PLAIN = [(kind, service) for kind in ("kill", "stop", "restart") for service in (*SERVICES, "nats")]
ALL = [*PLAIN, *((kind, "nats") for kind in ("cut", "alone", "disk")), ("clock", "faas")]


class Faults:
    def __init__(self, world, rng, say):
        self.world, self.rng, self.say, self.hits, self.begin = world, rng, say, [], time.monotonic()

    def one(self, kind, service, seconds=None):
        """Does it to one process of the service, and waits until the platform is whole again."""
        deed = DEEDS[kind]
        seconds = self.rng.choice(deed.seconds) if seconds is None else float(seconds)
        names = sorted(p["name"] for p in self.world.processes(service))
        target = self.rng.choice(names) if names else "everybody"
        pid = self.world.pid(target) if names else None
        hit = Hit(kind, target, time.monotonic())
        self.hits.append(hit)
        deed.do(self.world, target, seconds)
        hit.over = time.monotonic()
        if kind in ("kill", "restart"):
            wait_until(lambda: self.world.pid(target) not in (pid, None), RECOVER_S, f"{target} is replaced")
        try:
            wait_until(self.world.is_whole, RECOVER_S, "")
        except AssertionError:
            raise AssertionError(f"not whole {RECOVER_S} s after {kind} of {target}: {self.world.trouble()}") from None
        hit.whole = time.monotonic()
        self.say(f"at {hit.begun - self.begin:.1f} s {kind} {target}: {hit.over - hit.begun:.2f} s, whole after {hit.whole - hit.over:.2f} s")
