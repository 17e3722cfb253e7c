"""Who may sign up, and caps: a platform of its own with tight settings, through the public door."""
import concurrent.futures
import pathlib
import shutil
import tempfile

import pytest

from conftest import BIN
from support import Client, Platform, free_port, unique, wait_until

PASSWORD = "a long enough password"
SETTINGS = {"SIGNUP": "invite", "SIGNUP_PER_ADDRESS": "3", "REGISTRY_FUNCTIONS": "4", "TENANT_CONCURRENCY": "3"}


@pytest.fixture(scope="module")
def strict(engine):
    data = tempfile.mkdtemp(prefix="faas-e2e-")
    plat = Platform(BIN, data, free_port(), {"publisher": 3, "gateway": 1}, engine, SETTINGS)
    plat.up()
    yield plat
    left = plat.down()
    plat.check_logs()
    assert left == [], f"containers left behind: {left}"
    shutil.rmtree(data, ignore_errors=True)


def invite(platform, *more):
    made = platform.run("invite", "--data", platform.data, *more)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def sign_up(platform, name, **more):
    return Client(platform.url).post("/auth/register", {"username": name, "password": PASSWORD, **more})


@pytest.fixture(scope="module")
def guest(strict):
    """Registered by invitation, with the command line; logged in."""
    name, file = unique("guest"), pathlib.Path(strict.data, "invitation")
    file.write_text(invite(strict) + "\n")
    made = strict.run("register", name, "--password-stdin", "--invitation-file", str(file), input=PASSWORD + "\n")
    assert made.returncode == 0, made.stderr
    again = strict.run("register", unique("again"), "--password-stdin", "--invitation-file", str(file), input=PASSWORD + "\n")
    assert again.returncode != 0 and "used already" in again.stderr, again.stderr
    login = Client(strict.url).post("/auth/login", {"username": name, "password": PASSWORD})
    assert login.status == 200, login.text
    return Client(strict.url, login.json["token"], name, made)


def test_without_an_invitation_nobody_registers(strict, guest):
    doc = sign_up(strict, unique()).problem(403, "denied")
    assert "invitation" in doc["detail"] and doc["component"] == "auth", doc
    sign_up(strict, unique(), invitation="0" * 32).problem(403, "denied")
    sign_up(strict, guest.username).problem(403, "denied")


def test_the_operators_verb_needs_the_operators_directory(strict):
    done = strict.run("invite", "--data", strict.data + "-elsewhere")
    assert done.returncode == 4 and "nothing runs" in done.stderr, done.stderr
    done = strict.run("invite", "--data", strict.data, "--expires-s", "5")
    assert done.returncode == 2, done.stderr
    assert Client(strict.url).post("/auth/op/invite", {}).status == 404


def test_an_address_makes_so_many_accounts(strict, guest):
    codes = [invite(strict) for _ in range(3)]
    answers = [sign_up(strict, unique(), invitation=code) for code in codes]
    assert [a.status for a in answers] == [201, 201, 429], [a.text for a in answers]
    answers[2].problem(429, "busy")
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 1200
    sign_up(strict, unique(), invitation=codes[0]).problem(403, "denied")


@pytest.fixture(scope="module")
def functions(guest):
    return [guest.register("faas-tests/fail:latest", f"slow{i}") for i in range(4)]


def test_a_user_has_so_many_functions(guest, functions):
    refused = guest.post("/registry/register", {"name": "fifth", "description": "", "payload": "faas-tests/fail:latest"})
    assert "4 functions" in refused.problem(429, "busy")["detail"]
    assert int(refused.headers["Retry-After"]) >= 1


def test_a_users_calls_at_all_publishers_count_together(strict, guest, functions):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        running = [pool.submit(guest.call, name, "sleep 15000") for name in functions[:3]]
        wait_until(lambda: len(strict.running()) == 3, 30, "three calls run")
        # Whichever publisher has the function: it knows what the others have, once it has heard their beats.
        wait_until(lambda: all(guest.call(name, "id").status == 429 for name in functions), 10, "every publisher has heard of them")
        for name in functions:
            refused = guest.call(name, "id")
            assert "running and waiting" in refused.problem(429, "busy")["detail"]
            assert int(refused.headers["Retry-After"]) >= 1
        assert [r.result().status for r in running] == [200, 200, 200]
    assert guest.call(functions[0], "id").status == 200
