"""Secrets in whatever functions run in, containers or sandboxes: read by the function alone, and nowhere else."""
import json
import pathlib
import subprocess

import pytest

from support import unique, wait_until

SHELL = "faas-tests/sh:latest"


def put(user, name, value):
    answer = user.put(f"/v1/secrets/{name}", {"value": value})
    assert answer.status in (200, 201), answer.text


def run(user, name, script):
    answer = user.call(name, script)
    assert answer.status == 200, answer.text
    return answer.text


def docker(platform, *args):
    return subprocess.run(["docker", *args], env=platform.env, text=True, capture_output=True, check=True).stdout


def test_a_function_reads_exactly_its_own(other):
    large = "0123456789abcde\n" * 4096
    put(other, "text", "grüße\n")
    put(other, "large", large)
    put(other, "empty", "")
    put(other, "unused", "not for anybody")
    name = other.register(SHELL, secrets=["text", "large", "empty"])
    assert run(other, name, "cat /run/secrets/text") == "grüße\n"
    assert run(other, name, "cat /var/openfaas/secrets/large") == large
    assert run(other, name, "ls /run/secrets; wc -c </run/secrets/empty").split() == ["empty", "large", "text", "0"]
    assert run(other, name, "id -u; stat -c '%a %u' /run/secrets/text /run/secrets").split()[1::2] == ["400", "500"]
    assert run(other, name, "touch /run/secrets/new 2>/dev/null || echo refused; cat; env; cat /proc/1/cmdline").find("grüße") < 0
    bare = other.register(SHELL)
    assert run(other, bare, "ls -a /run/secrets /var/openfaas/secrets /.faas 2>/dev/null; echo none") == "none\n"


def test_a_change_counts_for_the_next_call(other):
    put(other, "key", "0")
    name = other.register(SHELL, secrets=["key"])
    for n in range(1, 6):
        put(other, "key", str(n))
        assert run(other, name, "cat /run/secrets/key") == str(n)


@pytest.mark.parametrize("image", ["faas-tests/entry-and-cmd:latest", "faas-tests/cmd-only:latest", "faas-tests/volume-user:latest"])
@pytest.mark.parametrize("more", [{}, {"input": "stdin"}])
def test_the_function_is_begun_as_without_them(other, image, more):
    put(other, "key", "value")
    with_them, without = (other.register(image, secrets=secrets, **more) for secrets in (["key"], []))
    answers = [other.call(name, "an argument; 'quoted'") for name in (with_them, without)]
    assert [(a.status, a.text) for a in answers[:1]] == [(a.status, a.text) for a in answers[1:]]


@pytest.mark.parametrize("size", [0, 100_000, 20_000_000])
def test_input_follows_them(other, size):
    put(other, "key", "v" * 65536)
    name = other.register("faas-tests/fail:latest", secrets=["key"], input="stdin", limits={"output_mb": 64})
    body = (b"0123456789\n" * (size // 11 + 1))[:size]
    answer = other.post(f"/function/{name}", body, headers={"Content-Type": "application/octet-stream"})
    assert answer.status == 200 and answer.body == body, (answer.status, answer.body[:200])


def test_a_program_that_is_not_there_is_told(other):
    put(other, "key", "value")
    name = other.register("faas-tests/bad-exec:latest", secrets=["key"])
    problem = other.call(name, "x")
    assert problem.status in (502, 503) and "/missing" in problem.text and "value" not in problem.text, problem.text


def test_its_bytes_are_nowhere_else(other, platform):
    value = unique("SECRETBYTES")
    put(other, "key", value)
    name = other.register(SHELL, secrets=["key"])
    call = other.post(f"/async-function/{name}", "test -s /run/secrets/key && sleep 600").json["call_id"]
    wait_until(lambda: other.get(f"/v1/calls/{call}").json["status"] == "running", 30, "it runs")
    roots = [pathlib.Path(platform.data)]
    if not platform.is_native:
        roots.append(pathlib.Path(docker(platform, "info", "-f", "{{.DockerRootDir}}").strip()))
        (container,) = wait_until(lambda: docker(platform, "ps", "-q", "--filter", f"label=faas.call={call}").split(), 30, "its container")
        told = json.loads(docker(platform, "inspect", container))[0]
        assert value not in json.dumps(told) and [m["Destination"] for m in told["Mounts"]] == ["/.faas"], told["Mounts"]
    for pid in filter(str.isdigit, (p.name for p in pathlib.Path("/proc").iterdir())):
        for what in ("environ", "cmdline"):
            try:
                assert value.encode() not in pathlib.Path("/proc", pid, what).read_bytes(), (pid, what)
            except OSError:
                continue
    found = subprocess.run(["grep", "-rlF", "--devices=skip", value, *map(str, roots)], text=True, capture_output=True)
    assert found.stdout == "", found.stdout
    found = subprocess.run(["grep", "-rlF", "--devices=skip", name, str(roots[0])], text=True, capture_output=True)
    assert found.stdout != ""  # the search can find
    assert other.delete(f"/v1/calls/{call}").status in (200, 202, 204)
    wait_until(lambda: other.get(f"/v1/calls/{call}").json["status"] == "cancelled", 30, "its end")
    if not platform.is_native:
        wait_until(lambda: docker(platform, "ps", "-aq", "--filter", f"label=faas.call={call}") == "", 30, "its container is removed")
        volumes = {m["Name"] for m in told["Mounts"]}
        wait_until(lambda: not volumes & set(docker(platform, "volume", "ls", "-q").split()), 30, "its volume is removed")
