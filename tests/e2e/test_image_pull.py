"""`faas image pull`: from a registry, by skopeo as a user of its own, with the login of that registry alone."""
import base64
import http.server
import json
import os
import pathlib
import secrets
import signal
import subprocess
import threading

import pytest

from conftest import ROOT, run
from image_files import MANIFEST, config_of, digest, entry, tar
from support import free_port, wait_until
from test_image import OWNER, Store, is_root, own  # noqa: F401 - own is a fixture

FETCHER = OWNER + 65536
PASSWORD = secrets.token_hex(12)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """host:port of a docker-registry with a login, that holds faas/report:1."""
    work = tmp_path_factory.mktemp("registry")
    address = f"127.0.0.1:{free_port()}"
    (work / "htpasswd").write_text(run("htpasswd", "-Bbn", "puller", PASSWORD) + "\n")
    (work / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {work}/data}}}}\nhttp: {{addr: \"{address}\"}}\n"
        f"auth: {{htpasswd: {{realm: faas, path: {work}/htpasswd}}}}\n")
    server = subprocess.Popen(["docker-registry", "serve", work / "config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def pushed():
        return subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", "--dest-creds", f"puller:{PASSWORD}",
                               f"docker-archive:{ROOT}/build/examples/report.tar", f"docker://{address}/faas/report:1"], capture_output=True).returncode == 0
    wait_until(pushed, 20, "the registry takes an image")
    yield address
    server.terminate()
    server.wait(20)


def logins(path, **hosts):
    """A file of logins as docker writes them: host="user:password" or a whole entry."""
    auths = {host: entry if isinstance(entry, dict) else {"auth": base64.b64encode(entry.encode()).decode()} for host, entry in hosts.items()}
    path.write_text(json.dumps({"auths": auths}))
    path.chmod(0o600)
    return path


def test_an_image_is_pulled_with_its_registrys_login(store, registry, tmp_path):
    file = logins(tmp_path / "auth.json", **{registry: f"puller:{PASSWORD}"})
    made = store.do("pull", f"{registry}/faas/report:1", "--auth-file", file)
    assert made[0]["references"] == [f"{registry}/faas/report:1"]
    assert store.do("import", ROOT / "build/examples/report.tar")[0]["id"] == made[0]["id"]
    plain = logins(tmp_path / "plain.json", **{registry: {"username": "puller", "password": PASSWORD}})
    assert store.do("pull", f"{registry}/faas/report:1", "--tag", "mine:1", REGISTRY_AUTH_FILE=str(plain))[0]["references"] == ["docker.io/library/mine:1"]
    shown = subprocess.run(["skopeo", "inspect", "--tls-verify=false", "--creds", f"puller:{PASSWORD}", f"docker://{registry}/faas/report:1"],
                           text=True, capture_output=True, check=True)
    pinned = f"{registry}/faas/report@{json.loads(shown.stdout)['Digest']}"
    assert store.do("pull", pinned, "--auth-file", file)[0]["references"] == [pinned]
    assert store.do("inspect", pinned)["id"] == made[0]["id"] and store.leftovers() == []


def test_without_its_login_the_registrys_words_come_back(store, registry, tmp_path):
    image = f"{registry}/faas/report:1"
    for file in [None, logins(tmp_path / "other", **{"example.org": f"puller:{PASSWORD}"}), logins(tmp_path / "wrong", **{registry: "puller:wrong-pass"})]:
        done = store.run("pull", image, *(["--auth-file", file] if file else []))
        assert done.returncode == 2 and ("authentication required" in done.stderr or "unauthorized" in done.stderr), done.stderr
        assert PASSWORD not in done.stderr and "wrong-pass" not in done.stderr
    (tmp_path / "other").chmod(0o644)
    assert "REGISTRY_AUTH_FILE" in store.refuses("pull", image, "--auth-file", tmp_path / "other")
    file = logins(tmp_path / "right", **{registry: f"puller:{PASSWORD}"})
    assert "manifest unknown" in store.refuses("pull", f"{registry}/faas/report:2", "--auth-file", file)
    for odd in [f"{registry}/faas/report:--x y", "oci:/etc:x/y", f"{registry}/a b", f"{registry}/../x"]:
        assert store.refuses("pull", odd).startswith("image: "), odd


# ---- a registry that means harm ----

class Hostile(http.server.ThreadingHTTPServer):
    """Answers with what `answers` holds for a path; remembers requests and their headers."""
    daemon_threads = True

    def __init__(self):
        self.answers, self.asked, self.hangs = {}, [], threading.Event()
        super().__init__(("127.0.0.1", 0), Answering)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server_port}"

    def image(self, *layers, types=None, **more):
        config = json.dumps(config_of(layers)).encode()
        stored = [{"mediaType": types or "application/vnd.oci.image.layer.v1.tar", "digest": digest(layer), "size": len(layer), **more} for layer in layers]
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": stored,
                               "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)}}).encode()
        self.answers["/v2/"] = (200, {}, b"{}")
        for name in ["1", digest(manifest)]:
            self.answers[f"/v2/bad/manifests/{name}"] = (200, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest(manifest)}, manifest)
        for blob in [config, *layers]:
            self.answers[f"/v2/bad/blobs/{digest(blob)}"] = (200, {"Content-Type": "application/octet-stream"}, blob)
        return f"{self.address}/bad:1"


class Answering(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802 - the library's name
        self.server.asked.append((self.path, dict(self.headers)))
        answer = self.server.answers.get(self.path, (404, {}, b"{}"))
        if self.server.hangs.is_set() or answer is None:
            self.rfile.read(1)  # until the client leaves
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def hostile():
    servers = [Hostile(), Hostile()]
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


def test_layers_elsewhere_are_not_fetched(store, hostile):
    server, elsewhere = hostile
    layer = tar(entry("a", b"1"))
    elsewhere.answers["/layer"] = (200, {}, layer)
    for types in ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "application/vnd.oci.image.layer.v1.tar"]:
        image = server.image(layer, types=types, urls=[f"http://{elsewhere.address}/layer"])
        done = store.run("pull", image)
        assert done.returncode == 2 and store.ids() == [], done.stderr
        assert elsewhere.asked == []
    assert any(path.startswith("/v2/bad/manifests/") for path, _ in server.asked)


def test_a_login_goes_to_no_other_host(store, hostile, tmp_path):
    server, elsewhere = hostile
    layer = tar(entry("a", b"1"))
    image = server.image(layer)
    elsewhere.answers[f"/v2/bad/blobs/{digest(layer)}"] = (200, {}, layer)
    server.answers[f"/v2/bad/blobs/{digest(layer)}"] = (307, {"Location": f"http://localhost:{elsewhere.server_port}/v2/bad/blobs/{digest(layer)}"}, b"")
    server.answers["/v2/"] = (401, {"WWW-Authenticate": 'Basic realm="x"'}, b"{}")
    store.run("pull", image, "--auth-file", logins(tmp_path / "auth", **{server.address: f"puller:{PASSWORD}"}))
    assert any("Authorization" in headers for _, headers in server.asked), server.asked
    assert all("Authorization" not in headers for _, headers in elsewhere.asked), elsewhere.asked


def test_what_a_registry_swaps_is_not_taken(store, hostile):
    server, _ = hostile
    good, evil = tar(entry("a", b"good")), tar(entry("a", b"evil"))
    image = server.image(good)
    server.answers[f"/v2/bad/blobs/{digest(good)}"] = (200, {}, evil)
    done = store.run("pull", image)
    assert done.returncode == 2 and store.ids() == [] and store.layers() == [] and store.leftovers() == [], done.stderr
    server.answers[f"/v2/bad/blobs/{digest(good)}"] = (200, {}, good)
    made = store.do("pull", image)
    assert store.layers() == [digest(good)[7:]] and store.ids() == [made[0]["id"]]


def test_a_registry_cannot_send_more_than_an_image_may_be(store, hostile):
    server, _ = hostile
    image = server.image(tar(entry("a", os.urandom(3 * 1024 * 1024))))
    done = store.run("pull", image, IMAGE_MAX_MB="1")
    assert done.returncode == 2 and "IMAGE_MAX_MB" in done.stderr, done.stderr
    assert store.leftovers() == [] and store.layers() == []
    layers = [tar(entry(f"a{i}", os.urandom(900 * 1024))) for i in range(4)]
    image = server.image(*layers)
    server.answers[f"/v2/bad/blobs/{digest(layers[3])}"] = None  # the others are here, and more than allowed; this one never comes
    done = store.run("pull", image, IMAGE_MAX_MB="1")
    assert done.returncode == 2 and "IMAGE_MAX_MB" in done.stderr, done.stderr
    assert store.leftovers() == [] and store.layers() == []


def test_skopeo_has_no_rights_no_secrets_in_view_and_ends_with_us(store, hostile, tmp_path):
    server, _ = hostile
    server.hangs.set()
    process = store.start("pull", f"{server.address}/bad:1", "--auth-file", logins(tmp_path / "auth", **{server.address: f"puller:{PASSWORD}"}))
    wait_until(lambda: server.asked, 20, "skopeo asks")

    def children():
        text = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        return [int(p) for p in text.split()]

    (pid,) = children()
    proc = pathlib.Path(f"/proc/{pid}")
    fields = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
    assert fields["Name"] == "skopeo" and fields["NoNewPrivs"] == "1" and int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0
    seen = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
    assert b"docker://" in seen and PASSWORD.encode() not in seen and base64.b64encode(f"puller:{PASSWORD}".encode()) not in seen
    if is_root:
        assert fields["Uid"].split() == [str(FETCHER)] * 4 and fields["Groups"].strip() == ""
        mode = os.stat(proc / "root/tmp/auth.json")
        assert mode.st_uid == FETCHER and mode.st_mode & 0o777 == 0o600
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not proc.exists(), 10, "skopeo is gone, too")
    assert store.ids() == [] and wait_until(lambda: store.run("list") and store.leftovers() == [], 10, "the next one sweeps")


@pytest.mark.skipif(not is_root, reason="becomes another user")
def test_another_user_than_root_may_pull(own, hostile):
    server, _ = hostile
    own.chmod(0o755)
    (own / "data").mkdir()
    os.chown(own / "data", 4321, 4321)
    layer = tar(entry("a", b"1"))
    made = Store(own, user=4321).do("pull", server.image(layer))
    assert len(made) == 1
