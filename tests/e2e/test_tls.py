"""`faas up --tls`: HTTPS with a certificate that the client verifies, kept over a restart; the command line over it."""
import os
import re
import ssl
import subprocess
import urllib.request

import pytest

import conftest
from support import Platform, free_port, unique

PASSWORD = "a long enough password\n"


@pytest.fixture(scope="module")
def platform(engine, tmp_path_factory):
    platform = Platform(conftest.BIN, str(tmp_path_factory.mktemp("tls")), free_port(), {}, engine)
    platform.tls, platform.certificate = up(platform)
    yield platform
    platform.down()
    platform.check_logs()


def up(platform):
    done = subprocess.run([platform.faas, "up", "--data", platform.data, "--listen", platform.listen, "--tls", "--detach"], env=platform.env,
                          text=True, capture_output=True, timeout=120)
    assert done.returncode == 0 and f"ready {platform.url}" in done.stdout, (done.stdout, done.stderr)
    return re.search(r"^tls (https://127\.0\.0\.1:\d+) certificate (\S+)$", done.stdout, re.M).groups()


def health(url, trusted):
    context = ssl.create_default_context(cafile=trusted)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(f"{url}/healthz", timeout=10) as answer:
        return answer.status, answer.read()


def faas(platform, *args, url=None, home="user", **more):
    env = {**platform.env, "FAAS_URL": url or platform.tls, "XDG_CONFIG_HOME": os.path.join(platform.data, home), **more}
    return subprocess.run([platform.faas, *args], env=env, text=True, capture_output=True, timeout=60, input=PASSWORD)


def test_the_command_line_works_over_tls_and_remembers_what_to_trust(platform):
    user, name = unique("tls"), unique("f")
    made = faas(platform, "register", user, "--password-stdin", "--ca-file", platform.certificate)
    assert made.returncode == 0, made.stderr
    login = faas(platform, "login", user, "--password-stdin", FAAS_CA_FILE=platform.certificate)
    assert login.returncode == 0 and platform.tls in login.stdout, (login.stdout, login.stderr)
    for step, said in ((("deploy", name, "--image", "faas-examples/upper:latest"), name), (("invoke", name, "hello"), "HELLO"), (("list",), name)):
        done = faas(platform, *step)
        assert done.returncode == 0 and said in done.stdout, (step, done.stdout, done.stderr)


def test_what_is_not_trusted_is_said(platform, tmp_path):
    refused = faas(platform, "list", home="nobody", FAAS_TOKEN="t")
    assert refused.returncode == 5 and "--ca-file" in refused.stderr and "not trusted" in refused.stderr, refused.stderr
    other = faas(platform, "list", "--ca-file", "/etc/hostname", home="nobody", FAAS_TOKEN="t")
    assert other.returncode == 2 and "/etc/hostname" in other.stderr, other.stderr
    missing = faas(platform, "list", "--ca-file", str(tmp_path / "none"), home="nobody", FAAS_TOKEN="t")
    assert missing.returncode == 2 and "--ca-file" in missing.stderr and "No such file" in missing.stderr, missing.stderr


def test_the_wrong_scheme_is_said(platform):
    plain = faas(platform, "list", url=platform.tls.replace("https", "http"), home="nobody", FAAS_TOKEN="t")
    assert plain.returncode == 5 and "https://" in plain.stderr, plain.stderr
    secure = faas(platform, "list", url=platform.url.replace("http", "https"), home="nobody", FAAS_TOKEN="t")
    assert secure.returncode == 5 and "http://" in secure.stderr, secure.stderr


def test_https_is_verified_and_the_certificate_is_kept(platform):
    assert platform.certificate.startswith(platform.data)
    assert health(platform.tls, platform.certificate) == (200, b"OK")
    assert health(platform.tls.replace("127.0.0.1", "localhost"), platform.certificate) == (200, b"OK")
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        health(platform.tls, None)
    with open(platform.certificate, encoding="ascii") as file:
        made = file.read()
    platform.down()
    assert up(platform) == (platform.tls, platform.certificate)
    with open(platform.certificate, encoding="ascii") as file:
        assert file.read() == made
    assert health(platform.tls, platform.certificate) == (200, b"OK")
