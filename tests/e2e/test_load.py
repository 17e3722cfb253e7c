"""Many connections, many calls: no thread each, nothing delayed, nothing kept."""
import concurrent.futures
import os
import pathlib
import resource
import select
import socket

import pytest

import conftest
import soak
from support import Client, Platform, free_port, wait_until

SLOW = 1000
# More slots than calls, and a gateway that lets a slow client take its time.
WIDE = {"SPAWNER_SLOTS": "200", "GATEWAY_CONNECTIONS_PER_ADDRESS": "0", "GATEWAY_IDLE_S": "600", "GATEWAY_READ_MS": "600000"}


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def threads(plat):
    status = plat.status()
    pids = {p["name"]: p["pid"] for p in status["processes"] if p["service"] != "nats"} | {"faas up": status["pid"]}
    return {name: len(os.listdir(pathlib.Path("/proc", str(pid), "task"))) for name, pid in pids.items()}


def send(user, text):
    s = socket.create_connection((user.url.hostname, user.url.port))
    s.sendall(text)
    return s


def answered(sockets):
    """What came back on those that did not wait any more."""
    poll = select.poll()  # select() takes no descriptor above 1023
    for s in sockets:
        poll.register(s, select.POLLIN)
    return [os.read(fd, 1000) for fd, _ in poll.poll(0)]


def crowd(plat, user, sleeper, argument, fast, count):
    """SLOW clients that never finish their requests and count calls that sleep: no process has a thread more, and fast requests pass them."""
    before = threads(plat)
    slow = [send(user, f"POST /function/{fast} HTTP/1.1\r\nHost: x\r\nX-Slow: ".encode()) for _ in range(SLOW)]
    call = f"POST /function/{sleeper} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\nContent-Length: {len(argument)}\r\n\r\n{argument}"
    asleep = [send(user, call.encode()) for _ in range(count)]
    try:
        wait_until(lambda: len(plat.running()) == count or answered(asleep), 120, f"{count} containers sleep")
        assert threads(plat) == before
        for i in range(10):
            assert user.call(fast, f"fast {i}").body == f"fast {i}".encode()
            assert user.get("/auth/validate").status == 200
        # All of these came back while each of the others still waited: nothing to read, no connection closed.
        assert answered(slow + asleep) == []
        assert len(plat.running()) == count
    finally:
        for s in slow + asleep:
            s.close()
    wait_until(lambda: plat.running() == [], 120, "the sleeping calls end when their clients leave")


def test_slow_clients_and_sleeping_calls_hold_no_thread_and_delay_nobody(tmp_path, many_files, promise):
    with soak.platform(tmp_path, {"spawner": 2}, WIDE) as (plat, user, name):
        crowd(plat, user, name, "sleep", name, 200)
    promise(9, f"20 of 20 fast requests answered before {SLOW} slow clients and 200 sleeping calls; 0 threads more in any process")


def test_the_same_with_containers(engine, tmp_path, many_files, promise):
    plat = Platform(conftest.BIN, str(tmp_path), free_port(), {"spawner": 2}, engine, env=WIDE)
    plat.up()
    user = Client.new(plat.url)
    sleeper = user.register("faas-tests/fail:latest", timeout_ms=600000, start_timeout_ms=120000)
    crowd(plat, user, sleeper, "sleep 590000", user.register("faas-examples/echo:latest"), 12)
    assert plat.down() == []
    plat.check_logs()
    promise(9, f"20 of 20 fast requests answered before {SLOW} slow clients and 12 sleeping containers; 0 threads more in any process")


def status_of(client, body):
    """0: the gateway closed the connection while the body was on its way."""
    try:
        return client.post("/function/echo", body).status
    except (BrokenPipeError, ConnectionResetError):
        return 0


def test_oversized_bodies_are_refused_and_not_kept(platform, client, functions, promise):
    def peak_kb(pid):
        return int(next(line.split()[1] for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")))

    gateway, body = platform.pids("gateway")[0], b"x" * (16 << 20)
    pathlib.Path(f"/proc/{gateway}/clear_refs").write_text("5")  # the peak counts from here
    before = peak_kb(gateway)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: status_of(client, body), range(16)))
    assert set(statuses) <= {413, 0}, statuses
    assert peak_kb(gateway) - before < 32 * 1024
    promise(10, "0 of 16 bodies of 16 MiB accepted; under 32 MB more memory at the peak")


def test_memory_stays_flat(tmp_path, promise):
    warm, more = 2000, 4000
    with soak.platform(tmp_path) as (plat, user, name):
        soak.make_calls(user, name, warm)
        before = soak.sample(plat)
        soak.make_calls(user, name, more)
        after = soak.sample(plat)
    table = soak.report([(warm, before), (warm + more, after)])
    ours = [p for p in before if not p.startswith("nats")]
    assert all(after[p]["threads"] == before[p]["threads"] for p in ours), table
    assert all(after[p]["files"] <= before[p]["files"] + soak.CALLERS for p in ours), table
    if not conftest.is_address_sanitized():  # it keeps freed memory, and looks for leaks itself at the end
        assert all(after[p]["anonymous"] - before[p]["anonymous"] < 2048 + more for p in ours), table
    promise(42, f"0 threads and at most {soak.CALLERS} descriptors more after {more} calls; under 1 kB a call and 2 MB in all kept")
