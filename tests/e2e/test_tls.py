"""`faas up --tls`: HTTPS with a certificate that the client verifies, kept over a restart."""
import re
import ssl
import subprocess
import urllib.request

import pytest

import conftest
from support import Platform, free_port


@pytest.fixture
def platform(engine, tmp_path):
    platform = Platform(conftest.BIN, str(tmp_path / "data"), free_port(), {}, engine)
    yield platform
    platform.down()


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


def test_https_is_verified_and_the_certificate_is_kept(platform):
    url, certificate = up(platform)
    assert certificate.startswith(platform.data)
    assert health(url, certificate) == (200, b"OK")
    assert health(url.replace("127.0.0.1", "localhost"), certificate) == (200, b"OK")
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        health(url, None)
    with open(certificate, encoding="ascii") as file:
        made = file.read()
    platform.down()
    assert up(platform) == (url, certificate)
    with open(certificate, encoding="ascii") as file:
        assert file.read() == made
    assert health(url, certificate) == (200, b"OK")
