"""Arguments over 1 MiB: they reach standard input byte for byte, cost nobody memory, and end with their call."""
import hashlib
import http.client
import json
import os
import pathlib
import re
import socket

import pytest

import conftest
from support import wait_until

MIB = 1 << 20
COPY = "faas-tests/fail:latest"  # copies its standard input
SHELL = "faas-tests/sh:latest"


@pytest.fixture
def copier(other):
    return other.register(COPY, input="stdin", limits={"output_mb": 64}, timeout_ms=120000)


def upload(client, path, pieces, headers=(), declared=None):
    """POST of a body in pieces, chunked unless its length is declared: (status, headers, digest of the answer, its length, its first bytes)."""
    conn = http.client.HTTPConnection(client.url.hostname, client.url.port, timeout=120)
    fields = {"Authorization": f"Bearer {client.token}", **dict(headers)}
    if declared is not None:
        fields["Content-Length"] = str(declared)
    conn.request("POST", path, pieces, fields, encode_chunked=declared is None)
    answer = conn.getresponse()
    digest, size, first = hashlib.sha256(), 0, b""
    while piece := answer.read(MIB):
        digest.update(piece)
        size += len(piece)
        first = first or piece
    conn.close()
    return answer.status, answer.headers, digest.hexdigest(), size, first


def pattern(count):
    return [hashlib.sha256(str(i).encode()).digest() * (MIB // 32) for i in range(count)]


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_large_argument_arrives_byte_for_byte(other, copier, is_chunked):
    pieces = pattern(20) + [b"end"]
    size = 20 * MIB + 3
    status, headers, digest, got, first = upload(other, f"/function/{copier}", iter(pieces), declared=None if is_chunked else size)
    assert (status, got) == (200, size), (status, got, first[:500])
    assert digest == hashlib.sha256(b"".join(pieces)).hexdigest()


def test_just_above_the_limit_of_a_message(other, copier):
    for size in (MIB, MIB + 1):
        body = os.urandom(size)
        status, _, digest, got, first = upload(other, f"/function/{copier}", body, declared=size)
        assert (status, got, digest) == (200, size, hashlib.sha256(body).hexdigest()), (size, first[:500])


def peak(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


@pytest.mark.skipif(os.geteuid() != 0, reason="resetting a peak needs root")
def test_a_hundred_megabytes_pass_into_a_function_without_being_kept(platform, other, copier, capsys):
    size = 100 * MIB
    assert upload(other, f"/function/{copier}", b"warm", declared=4)[0] == 200
    pids = platform.pids("gateway") + platform.pids("publisher")
    for pid in pids:
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
    before = {pid: peak(pid) for pid in pids}
    status, headers, digest, got, first = upload(other, f"/function/{copier}", (b"\0" * MIB for _ in range(100)), [("X-Stream", "true")], declared=size)
    grown = {pid: peak(pid) - before[pid] for pid in pids}
    assert (status, got) == (200, size), first[:500]
    if not conftest.is_address_sanitized() and b"__tsan_init" not in (conftest.BIN / "faas-gateway").read_bytes():
        assert max(grown.values()) < 8 * 1024, grown
    with capsys.disabled():
        print(f"\n100 MiB in and out, growth in kB: {sorted(grown.values())}")


def test_functions_that_read_nothing_or_a_part_end_as_they_like(other):
    name = other.register(SHELL, input="stdin")  # a shell without a script ends at once
    status, _, _, _, first = upload(other, f"/function/{name}", iter(pattern(8)), declared=8 * MIB)
    assert status in (200, 502), (status, first[:300])
    assert other.post(f"/function/{name}", "").status in (200, 502)


def test_what_cannot_be_is_told_with_its_limit(platform, other, copier):
    argv = other.register(COPY)
    status, _, _, _, first = upload(other, f"/function/{argv}", b"x" * (2 * MIB), declared=2 * MIB)
    assert status == 413 and "131071" in json.loads(first)["detail"] and "stdin" in json.loads(first)["detail"], first
    for path, headers in ((f"/async-function/{copier}", []), (f"/function/{copier}", [("Idempotency-Key", "k1")])):
        status, _, _, _, first = upload(other, path, b"x" * (MIB + 1), headers, declared=MIB + 1)
        assert status == 413 and "1048576 bytes" in json.loads(first)["detail"] and "GATEWAY_BODY_MB" in json.loads(first)["detail"], first
    with socket.create_connection((other.url.hostname, other.url.port), timeout=20) as s:  # refused before a byte of it is sent
        s.sendall(f"POST /function/{copier} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {other.token}\r\nExpect: 100-continue\r\n"
                  f"Content-Length: {129 * MIB}\r\n\r\n".encode())
        assert s.recv(12) == b"HTTP/1.1 413"


def test_a_client_that_stops_in_the_middle_starts_nothing(platform, other, copier):
    before = len(other.get("/v1/calls?limit=200").json["items"])
    with socket.create_connection((other.url.hostname, other.url.port), timeout=20) as s:
        s.sendall(f"POST /function/{copier} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {other.token}\r\nContent-Length: {8 * MIB}\r\n\r\n".encode() + b"x" * 3 * MIB)
    assert other.call(copier, "after").body == b"after"

    def calls():
        return len(other.get("/v1/calls?limit=200").json["items"])
    wait_until(lambda: calls() == before + 1, 20, "the call after it alone is recorded")
