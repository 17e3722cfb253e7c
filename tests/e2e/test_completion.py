"""Completion in a real bash, and the man page: both are made of the tables of the program."""
import os
import pty
import re
import select
import shutil
import socket
import subprocess

import pytest

import conftest
from support import Client

FAAS = str(conftest.BIN / "faas")


def faas(*args, env=None):
    return subprocess.run([FAAS, *args], env={**os.environ, **(env or {})}, text=True, capture_output=True, timeout=60)


def verbs():
    """verb of the table -> its options, as the help shows them."""
    table = (conftest.ROOT / "cli/main.c").read_text().split("cli_verbs[] = {", 1)[1]
    found = {}
    for name in re.findall(r'^    \{"([a-z]+(?: [a-z]+)?)", ', table, re.M):
        shown = faas(*name.split(), "--help").stdout
        found[name] = set(re.findall(r"^  (--?[a-z-]+)", shown.split("\nOptions:\n", 1)[1], re.M))
    assert {"up", "deploy", "image pack", "dead list", "completion"} <= set(found), found
    return found


def complete(*words, env=None):
    """What bash would offer for the last word."""
    script = 'source <("$1" completion bash) && shift && COMP_WORDS=(faas "$@") && COMP_CWORD=$# && COMP_WORDS[0]=$FAAS && _faas && printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "--norc", "-euo", "pipefail", "-c", script, "bash", FAAS, *words], text=True, capture_output=True, timeout=60,
                          env={**os.environ, "FAAS": FAAS, **(env or {})})
    assert (done.returncode, done.stderr) == (0, ""), (done.returncode, done.stderr)
    return set(done.stdout.split())


def test_every_verb_and_option_is_offered():
    known = verbs()
    assert complete("") == {name.split()[0] for name in known}
    for name, options in known.items():
        assert complete(*name.split(), "--help"[:1]) == options, name
        assert name.split()[-1] in complete(*name.split()), name
    assert complete("keys", "") == {"rotate"} and complete("completion", "") == {"bash"}


def test_bash_completes_what_is_typed(tmp_path):
    """Readline itself, in a shell that believes it has a terminal."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], {**os.environ, "PS1": "ready> ", "PATH": f"{conftest.BIN}:{os.environ['PATH']}", "TERM": "dumb"})
    seen = b""

    def read():
        assert select.select([fd], [], [], 30)[0], seen
        try:
            return os.read(fd, 4096)
        except OSError:  # the other end is closed
            return b""

    def until(mark):
        nonlocal seen
        while mark not in seen:
            piece = read()
            assert piece, seen
            seen += piece
        seen = seen.split(mark, 1)[1]
    until(b"ready> ")
    os.write(fd, b"source <(faas completion bash)\n")
    until(b"ready> ")
    os.write(fd, b"faas depl\t")
    until(b"faas deploy ")
    os.write(fd, b"--dry\t")
    until(b"--dry-run ")
    os.write(fd, b"\x15exit\n")
    while read():
        pass
    assert os.waitpid(pid, 0)[1] == 0


def test_names_of_functions_come_from_the_platform(platform, tmp_path):
    client = Client.new(platform.url)
    for name in ("one-echo", "other"):
        client.register("faas-examples/echo:latest", name)
    env = {"FAAS_URL": platform.url, "FAAS_TOKEN": client.token}
    assert complete("invoke", "", env=env) == {"one-echo", "other"}
    assert complete("invoke", "on", env=env) == {"one-echo"}
    assert complete("describe", "x", env=env) == set()
    assert complete("calls", "--function", "ot", env=env) == {"other"}


def test_a_platform_that_does_not_answer_is_no_error(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        for url in (f"http://127.0.0.1:{silent.getsockname()[1]}", "http://127.0.0.1:1", "nonsense"):
            assert complete("invoke", "", env={"FAAS_URL": url, "FAAS_TOKEN": "x"}) == set()
    assert complete("invoke", "", env={"FAAS_URL": "http://127.0.0.1:1", "FAAS_TOKEN": "", "XDG_CONFIG_HOME": str(tmp_path)}) == set()
    assert complete("invoke", "$(touch here)", "`x`", "'", env={"FAAS_URL": "http://127.0.0.1:1"}) == set()


def test_another_shell_is_told_what_there_is():
    done = faas("completion", "fish")
    assert done.returncode == 2 and "bash" in done.stderr, done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
def test_the_script_is_clean():
    done = subprocess.run(["shellcheck", "-s", "bash", "-"], input=faas("completion", "bash").stdout, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout


def test_the_man_page_is_that_of_the_program():
    page = (conftest.ROOT / "docs/faas.1").read_text()
    assert page == faas("help", "--man").stdout
    plain = page.replace("\\-", "-")
    for name, options in verbs().items():
        assert re.search(rf'^\.SS "faas {re.escape(name)}[" ]', plain, re.M), name
        for option in options:
            assert f"\\fB{option}\\fR" in plain, (name, option)


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff")
def test_the_man_page_is_clean():
    done = subprocess.run(["groff", "-man", "-ww", "-Tascii", "-P-cbou", conftest.ROOT / "docs/faas.1"], text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "EXIT STATUS" in done.stdout
