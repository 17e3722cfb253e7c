"""Many calls through gateway, publisher and spawner, and what each process holds before and after.

The engine is scripted (tests/support/scripted_engine.c): Docker makes a few calls a second, and it is not what is measured.
"""
import concurrent.futures
import contextlib
import http.client
import os
import pathlib
import subprocess

import conftest
from support import Client, Platform, free_port, wait_until

CALLERS = 8


@contextlib.contextmanager
def platform(folder, replicas=None, env=None):
    """A platform on a scripted engine, without rate limits, and a function on it: (platform, client, name)."""
    sock = pathlib.Path(folder, "engine.sock")
    engine = subprocess.Popen([conftest.BIN / "scripted-engine", sock])
    plat = Platform(conftest.BIN, os.path.join(folder, "data"), free_port(), replicas or {}, f"unix://{sock}", env={"RATE_USER": "0", "SPAWNER_RUNTIME": "docker", **(env or {})})
    try:
        wait_until(sock.exists, 10, "the scripted engine listens")
        os.makedirs(plat.data)
        plat.up()
        user = Client.new(plat.url)
        yield plat, user, user.register("faas-examples/echo:latest", max_wait_ms=30000)  # a busy machine makes them wait, not fail
        done = plat.run("down", "--data", plat.data)
        assert done.returncode == 0, done.stderr
        plat.check_logs()
    finally:
        plat.run("down", "--data", plat.data)
        engine.terminate()
        engine.wait()


def make_calls(client, name, count):
    """So many calls by CALLERS on kept connections; every answer must be its argument."""
    def caller(n):
        conn = http.client.HTTPConnection(client.url.hostname, client.url.port, timeout=60)
        for i in range(n, count, CALLERS):
            conn.request("POST", f"/function/{name}", f"argument {i}", {"Authorization": f"Bearer {client.token}"})
            answer = conn.getresponse()
            body = answer.read()
            assert (answer.status, body) == (200, f"argument {i}".encode()), (answer.status, body)
        conn.close()

    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(caller, range(CALLERS)))


def sample(plat):
    """process name -> what it holds now: rss, pss, anonymous (kB), files, threads."""
    return {name: sample_of(pid) for name, pid in pids(plat).items()}


def pids(plat):
    status = plat.status()
    return {p["name"]: p["pid"] for p in status["processes"]} | {"faas up": status["pid"]}


def sample_of(pid):
    proc = pathlib.Path("/proc", str(pid))
    fields = dict(line.split(":", 1) for line in (proc / "smaps_rollup").read_text().splitlines()[1:])
    held = {key.lower(): int(fields[key].split()[0]) for key in ("Rss", "Pss", "Anonymous")}
    return held | {"files": len(os.listdir(proc / "fd")), "threads": len(os.listdir(proc / "task"))}


def report(samples):
    """samples: [(calls so far, sample)]; a table, and the growth of anonymous memory between the first and the last."""
    lines = [f"{'process':14} {'calls':>8} {'rss kB':>8} {'pss kB':>8} {'anon kB':>8} {'files':>6} {'threads':>8}"]
    for name in samples[0][1]:
        for calls, held in samples:
            h = held[name]
            lines.append(f"{name:14} {calls:8} {h['rss']:8} {h['pss']:8} {h['anonymous']:8} {h['files']:6} {h['threads']:8}")
        (first, before), (last, after) = samples[0], samples[-1]
        slope = (after[name]["anonymous"] - before[name]["anonymous"]) * 1024 / (last - first)
        lines.append(f"{name:14} anonymous memory grew by {slope:.1f} bytes a call\n")
    return "\n".join(lines)
