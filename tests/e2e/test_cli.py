"""The faas command line against the running platform."""
import fcntl
import json
import os
import pty
import stat
import struct
import subprocess
import termios

import pytest

from support import Client, unique

PASSWORD = "a long enough password"


@pytest.fixture(scope="module")
def user(platform):
    name = unique("cli")
    made = platform.run("register", name, "--password-stdin", input=PASSWORD + "\n")
    assert made.returncode == 0, (made.stdout, made.stderr)
    login = platform.run("login", name, "--password-stdin", input=PASSWORD + "\n")
    assert login.returncode == 0, (login.stdout, login.stderr)
    return name


def test_the_token_file_is_private(platform, user):
    path = os.path.join(platform.env["XDG_CONFIG_HOME"], "faas", "credentials.json")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_deploy_invoke_list_describe_remove(platform, user):
    name = unique("fn")
    done = platform.run("deploy", name, "--image", "faas-examples/upper:latest", "--description", "shouts")
    assert done.returncode == 0, done.stderr
    called = platform.run("invoke", name, "héllo\n")
    assert (called.returncode, called.stdout, called.stderr) == (0, "HÉLLO\n", "")
    listed = platform.run("list", "--json")
    assert name in [r["name"] for r in json.loads(listed.stdout)]
    assert name in platform.run("list").stdout
    shown = platform.run("describe", name, "--json")
    assert json.loads(shown.stdout)["description"] == "shouts"
    again = platform.run("deploy", name, "--image", "faas-examples/upper:latest", "--timeout-ms", "5000")
    assert again.returncode == 0 and json.loads(platform.run("describe", name, "--json").stdout)["timeout_ms"] == 5000
    assert platform.run("remove", name).returncode == 0
    gone = platform.run("describe", name)
    assert gone.returncode == 4 and "not_found" in gone.stderr, (gone.returncode, gone.stderr)


def test_a_failing_function_sets_the_exit_code(platform, user):
    name = unique("fn")
    assert platform.run("deploy", name, "--image", "faas-tests/fail:latest").returncode == 0
    done = platform.run("invoke", name, "exit 3 sad")
    assert done.returncode == 1 and done.stdout == "" and "sad" in done.stderr, (done.returncode, done.stdout, done.stderr)
    dash = platform.run("invoke", name, "--", "-n")
    assert dash.returncode == 1, dash.stderr


def on_a_terminal(platform, answers, *args, env=None):
    """Runs faas on a terminal of its own and types each answer when its question is there; (exit status, what was shown)."""
    pid, ours = pty.fork()
    if pid == 0:
        os.execve(platform.faas, [platform.faas, *args], {**platform.env, "FAAS_URL": platform.url, "NO_COLOR": "1", **(env or {})})
    shown = b""
    try:
        for question, answer in answers:
            while question not in shown.rpartition(b"\n")[2]:
                shown += os.read(ours, 4096)
            os.write(ours, answer + b"\n")
        while True:
            shown += os.read(ours, 4096)
    except OSError:  # it has ended
        pass
    finally:
        os.close(ours)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


def test_a_password_is_changed_from_standard_input_files_and_a_terminal(platform, user, tmp_path):
    url, first, second, third = platform.url, PASSWORD, "another password", "a third password"
    old = Client(url).post("/auth/login", {"username": user, "password": first}).json["token"]
    wrong = platform.run("passwd", "--password-stdin", input=f"{second}\n{third}\n")
    assert wrong.returncode == 4 and "current_password" in wrong.stderr, wrong
    weak = platform.run("passwd", "--password-stdin", input=f"{first}\nshort\n")
    assert weak.returncode == 2 and "password" in weak.stderr, weak
    none = platform.run("passwd", "--password-stdin", input=f"{first}\n")
    assert none.returncode == 2 and "the new password is empty" in none.stderr, none
    assert Client(url, old).get("/auth/validate").status == 200
    done = platform.run("passwd", "--password-stdin", input=f"{first}\n{second}\n")
    assert done.returncode == 0 and done.stdout.startswith(f"logged in to {url} as {user}"), done
    Client(url, old).get("/auth/validate").problem(401, "unauthenticated")
    Client(url).post("/auth/login", {"username": user, "password": first}).problem(401, "unauthenticated")
    assert platform.run("whoami").returncode == 0

    for name, text in (("current", second), ("new", third)):
        (tmp_path / name).write_text(text + "\n")
    files = ("passwd", "--current-file", str(tmp_path / "current"), "--new-file", str(tmp_path / "new"))
    token = Client(url).post("/auth/login", {"username": user, "password": second}).json["token"]
    done = subprocess.run([platform.faas, *files], env={**platform.env, "FAAS_URL": url, "FAAS_TOKEN": token}, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0 and "log in again" in done.stderr, done  # whose token that was is not known here
    assert platform.run("login", user, "--password-stdin", input=third).returncode == 0
    missing = platform.run(*files[:2], str(tmp_path / "nothing"))
    assert missing.returncode == 2 and "nothing: cannot read" in missing.stderr, missing

    code, shown = on_a_terminal(platform, [(b"Current password: ", third.encode()), (b"New password: ", first.encode()), (b"again: ", b"no")], "passwd")
    assert code == 2 and b"differ" in shown, (code, shown)
    code, shown = on_a_terminal(platform, [(b"Current password: ", third.encode()), (b"New password: ", first.encode()), (b"again: ", first.encode())], "passwd")
    assert code == 0 and b"logged in to" in shown and first.encode() not in shown and third.encode() not in shown, (code, shown)
    assert platform.run("whoami").returncode == 0


def test_an_account_is_deleted_once_that_is_confirmed(platform, tmp_path):
    mine, name = {"XDG_CONFIG_HOME": str(tmp_path)}, unique("leaver")

    def run(*args, word=PASSWORD):
        return subprocess.run([platform.faas, *args], env={**platform.env, "FAAS_URL": platform.url, **mine}, input=word + "\n", text=True, capture_output=True, timeout=60,
                              start_new_session=True)  # no terminal to ask on
    for verb in ("register", "login"):
        assert run(verb, name, "--password-stdin").returncode == 0
    unasked = run("account", "delete", "--password-stdin")
    assert unasked.returncode == 2 and "--yes" in unasked.stderr, unasked
    wrong = run("account", "delete", "--password-stdin", "--yes", word="another password")
    assert wrong.returncode == 4 and "current_password" in wrong.stderr, wrong
    code, shown = on_a_terminal(platform, [(b"Type yes: ", b"y")], "account", "delete", env=mine)
    assert code == 2 and b"nothing was done" in shown, (code, shown)
    assert run("whoami").returncode == 0
    code, shown = on_a_terminal(platform, [(b"Type yes: ", b"yes"), (b"Password: ", PASSWORD.encode())], "account", "delete", env=mine)
    assert code == 0 and b"the account is deleted" in shown, (code, shown)
    assert run("whoami").returncode == 3 and run("login", name, "--password-stdin").returncode == 3


def test_usage_errors(platform):
    for args, hint in ((("depoly",), "deploy"), (("deploy",), "NAME"), (("list", "--nonsense"), "--nonsense"), (("up", "--replicas", "gatway=1"), "gatway"),
                       (("up", "--replicas", "nats=0"), "nats")):
        done = platform.run(*args)
        assert done.returncode == 2 and hint in done.stderr, (args, done.returncode, done.stderr)
    assert platform.run("version").stdout.strip()
    assert platform.run("--help").returncode == 0 and "deploy" in platform.run("--help").stdout


def test_logout_ends_the_session_and_forgets_it(platform, user, tmp_path):
    env = {**platform.env, "XDG_CONFIG_HOME": str(tmp_path), "FAAS_URL": platform.url}

    def faas(*args, **kwargs):
        done = subprocess.run([platform.faas, *args], env=env, text=True, capture_output=True, timeout=60, **kwargs)
        assert done.returncode == 0, (args, done.stdout, done.stderr)
        return done.stdout

    def token():
        servers = json.loads((tmp_path / "faas/credentials.json").read_text())["servers"]
        return [login["token"] for login in servers.values() if "token" in login]

    faas("login", user, "--password-stdin", input=PASSWORD)
    [old] = token()
    assert "session there has ended" in faas("logout")
    Client(platform.url, old).get("/auth/validate").problem(401, "unauthenticated")
    assert token() == [] and "no login" in faas("logout")
    faas("login", user, "--password-stdin", input=PASSWORD)
    Client(platform.url, *token()).post("/auth/logout")
    assert json.loads(faas("logout", "--json"))["ended"] is True  # it had ended before


def test_without_a_login_it_says_what_to_do(platform, tmp_path):
    done = subprocess.run([platform.faas, "list"], env={**platform.env, "FAAS_URL": platform.url, "XDG_CONFIG_HOME": str(tmp_path)}, text=True, capture_output=True)
    assert done.returncode == 3 and "faas login" in done.stderr, (done.returncode, done.stderr)


def test_nothing_listening_says_so(platform, user, tmp_path):
    done = subprocess.run([platform.faas, "login", user, "--password-stdin", "--server", "http://127.0.0.1:1"], env=platform.env, text=True,
                          capture_output=True, input=PASSWORD + "\n")
    assert done.returncode == 5 and "127.0.0.1:1" in done.stderr, (done.returncode, done.stderr)


def test_a_second_up_on_the_same_folder_exits_3(platform):
    done = platform.run("up", "--data", platform.data, "--listen", platform.listen)
    assert done.returncode == 3 and platform.data in done.stderr, (done.returncode, done.stderr)


def test_another_number_of_nats_servers_is_refused(platform, tmp_path):
    import conftest
    from support import Platform, free_port
    plat = Platform(conftest.BIN, str(tmp_path), free_port(), {}, platform.docker_host)
    plat.up()
    plat.down()
    done = plat.run("up", "--data", plat.data, "--listen", plat.listen, "--replicas", "nats=3")
    assert done.returncode != 0 and "nats" in done.stderr and "1" in done.stderr, (done.returncode, done.stderr)


def test_down_of_nothing_says_so(platform, tmp_path):
    done = platform.run("down", "--data", str(tmp_path))
    assert done.returncode != 0 and str(tmp_path) in done.stderr


def test_nats_servers_leave_few_processors_to_the_others(platform):
    usable = len(os.sched_getaffinity(0))
    for pid in platform.pids("nats"):
        with open(f"/proc/{pid}/environ", "rb") as file:
            given = [v for v in file.read().split(b"\0") if v.startswith(b"GOMAXPROCS=")]
        assert given == ([b"GOMAXPROCS=1"] if usable <= 2 else []), (usable, given)
        with open(f"/proc/{pid}/timerslack_ns", encoding="ascii") as file:
            assert int(file.read()) == 1_000_000


def test_status_lists_every_process(platform):
    status = platform.status()
    services = [p["service"] for p in status["processes"]]
    for name, count in {**platform.replicas, "gateway": 1}.items():
        assert services.count(name) == count, (name, services)


def test_what_takes_its_time_is_shown_on_a_terminal_alone(platform, tmp_path):
    """On a pty standard error has the line, and takes it away; in a pipe it has nothing."""
    env = {**platform.env, "FAAS_URL": platform.url, "FAAS_TOKEN": Client.new(platform.url).token, "TERM": "xterm"}
    stack = tmp_path / "stack.yml"
    stack.write_text("functions:\n  one: {image: faas-examples/echo:latest}\n  two: {image: faas-examples/echo:latest}\n")

    def shown(*args, **more):
        ours, theirs = pty.openpty()
        try:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 70, 0, 0))
            done = subprocess.run([platform.faas, *args], env={**env, **more}, text=True, stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL, timeout=60)
            assert done.returncode == 0, done
            os.write(theirs, b"END")
            text = b""
            while not text.endswith(b"END"):
                text += os.read(ours, 65536)
            return text.decode().removesuffix("END"), done.stdout
        finally:
            os.close(ours)
            os.close(theirs)
    line, said = shown("deploy", "single", "--image", "faas-examples/echo:latest")
    assert line.startswith("\r\x1b[Kdeploying single, 0 s") and line.endswith("\r\x1b[K") and said.startswith("created single"), (line, said)
    line, said = shown("deploy", "-f", str(stack))
    assert "[....................] 0/2 deploying one, 0 s" in line and "[##########..........] 1/2 deploying two, 0 s" in line, line
    assert shown("deploy", "single", "--image", "faas-examples/echo:latest", TERM="dumb")[0] == ""
    piped = subprocess.run([platform.faas, "deploy", "single", "--image", "faas-examples/echo:latest"], env=env, text=True, capture_output=True, timeout=60)
    assert (piped.returncode, piped.stderr) == (0, ""), piped
    again = subprocess.run([platform.faas, "refresh", "single"], env=env, text=True, capture_output=True, timeout=60)
    assert again.returncode == 0 and again.stdout.startswith("single: version "), again
