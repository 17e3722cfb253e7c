"""The chaos harness: a platform with several replicas of everything, steady load, and one fault after the other.

chaos.py --bin FOLDER [--seed N] [--rounds N]; to be run by scripts/chaos, in namespaces of its own.  Prints seed, faults and figures;
exit status 1 when anything happened that must not.
"""
import argparse
import collections
import math
import pathlib
import random
import secrets
import shutil
import sys
import tempfile
import time

import acts
import check
from faults import ALL, PLAIN, Faults
from load import Load
from queued import PLANTED_S, SETTLE_S, Queue
from world import World, wait_until
from writes import Writes

CALLERS = {"plain": (3, 8.0), "count": (3, 8.0), "slow": (2, 8.0)}
QUEUED_PER_S = 4  # at each gateway
SLOTS = 4  # of each spawner, in the act of the overload
SHOWN = 40  # of what is wrong


def say(text):
    print(f"chaos: {text}", flush=True)


def plan(count, only, rng):
    """(kind, service) or (kind, service, seconds), each as often as another, in random order."""
    of = PLAIN if only == "plain" else [tuple(text.split(":")) for text in only.split(",")] if only else ALL
    return [combination for _ in range(-(-count // len(of))) for combination in rng.sample(of, len(of))][:count]


def run(world, seed, args):
    count, only, most_s = args.rounds, args.faults, args.seconds or math.inf
    rng = random.Random(seed)
    owner = world.new_user()
    world.register(owner)
    users = [world.new_user() for _ in range(2)]
    load, writes, queue = Load(world, owner.token, seed, CALLERS), Writes(world, users, seed), Queue(world, owner, seed, QUEUED_PER_S)
    load.start()
    writes.start()
    queue.start()
    wait_until(load.flows, 30, "each client has had an answer")
    begin, faults = time.monotonic(), Faults(world, rng, say)
    try:
        for fault in plan(count, only, rng):
            if time.monotonic() > begin + most_s:
                say(f"{most_s:.0f} s are over: no more rounds")
                break
            faults.one(*fault)
    finally:
        end = time.monotonic()
        queue.stop()
        calls, ops = load.stop(), writes.stop()
    wrong_writes, jobs = writes.settle(), queue.settle(PLANTED_S if "job lost" in args.expect else SETTLE_S)
    verdict = check.check(calls, ops, world.runs(), faults.hits, wrong_writes, begin, end, args.timed, jobs)
    verdict.figures = {"faults": dict(collections.Counter(h.kind for h in faults.hits)), "seconds": round(end - begin, 1), **verdict.figures}
    return verdict


def act(folder, name, bin_dir, seconds):
    """quorum, overload or disk, in a world of its own."""
    with World(bin_dir, folder, env={"SPAWNER_SLOTS": str(SLOTS)}) as world:
        try:
            user = world.new_user()
            world.register(user)
            if name == "quorum":
                figures, wrong = acts.quorum(world, user)
            elif name == "disk":
                figures, wrong = acts.disk(world, user)
            else:
                figures, wrong = acts.overload(world, user, seconds, SLOTS * world.replicas["spawner"])
            verdict = check.Verdict({f"{name}: {key}": value for key, value in figures.items()}, wrong)
            settle(world, verdict)
        except BaseException:
            world.platform.run("down", "--data", world.platform.data)
            raise
    return verdict


def settle(world, verdict):
    """The replicas of the streams, what is left, what the logs say."""
    try:
        wait_until(lambda: not world.stream_differences(), 20, "replicas are identical")
    except AssertionError:
        verdict.wrong.append(f"replicas differ: {world.stream_differences()}")
    verdict.figures["streams that differ"] = len(world.stream_differences())
    left = world.close()
    verdict.figures["leftovers"] = sum(len(found) for found in left.values())
    if left:
        verdict.wrong.append(f"left behind: {left}")


def rounds(folder, seed, args):
    with World(args.bin, folder) as world:
        try:
            verdict = run(world, seed, args)
            settle(world, verdict)
        except BaseException:
            world.platform.run("down", "--data", world.platform.data)
            raise
    return verdict


def is_expected(verdict, kinds):
    """Without kinds: nothing is wrong.  Else each of them was found: the checker sees what was planted."""
    found = {text.split(":")[0] for text in verdict.wrong}
    missed = [kind for kind in kinds.split(",") if kind and kind not in found]
    for kind in missed:
        say(f"NOT FOUND, though it was planted: {kind}")
    return not missed if kinds else not verdict.wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--faults", default="", help="only these, like kill:nats,stop:spawner:0.5,cut:nats; plain: kills, stops and restarts")
    parser.add_argument("--expect", default="", help="succeed when exactly these kinds of wrong are found, like doubled,write lost")
    parser.add_argument("--act", choices=("quorum", "overload", "disk"), help="in place of the rounds")
    parser.add_argument("--seconds", type=float, default=0, help="at most so long; of the overload 60 unless said")
    parser.add_argument("--timed", action="store_true", help="bounds of time count, too: for a machine that does nothing else")
    parser.add_argument("--keep", action="store_true", help="keep the folder with data and logs")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else secrets.randbelow(1 << 32)
    folder = tempfile.mkdtemp(prefix="faas-chaos-")
    say(f"seed {seed}, {args.act or f'{args.rounds} rounds'}, in {folder}")
    if args.act:
        verdict = act(folder, args.act, args.bin, args.seconds or 60)
    else:
        verdict = rounds(folder, seed, args)
    for name, value in verdict.figures.items():
        say(f"{name:26} {value}")
    for text in verdict.known[:SHOWN]:
        say(f"known {text}")
    for text in verdict.wrong[:SHOWN]:
        say(f"WRONG {text}")
    say(f"seed {seed}: {len(verdict.wrong)} wrong")
    if args.keep:
        say(f"data and logs are kept in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if is_expected(verdict, args.expect) else 1


if __name__ == "__main__":
    sys.exit(main())
