"""A secret that is missing, empty, short, readable by others, a link to elsewhere or one that anybody can look up stops the start; the message names
the file and shows nothing of it."""
import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import conftest
from forging import Key
from support import Platform, free_port, wait_until
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

SERVICES = ("auth", "registry", "publisher", "spawner", "gateway")
PRINTED_SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n"  # the NATS documentation's
PRINTED_KEY = ("-----BEGIN PRIVATE KEY-----\n"  # jwt.io's
               "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\nOF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n"
               "1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n-----END PRIVATE KEY-----\n")


@pytest.fixture(scope="module")
def plat(engine, tmp_path_factory):
    made = Platform(conftest.BIN, str(tmp_path_factory.mktemp("secrets")), free_port(), {}, engine)
    made.up()
    yield made
    made.down()
    made.check_logs()


def settings(plat, service, work, **more):
    """What `faas up` would give the service, with secrets of its own copy."""
    ports = json.loads(pathlib.Path(plat.data, "ports.json").read_text())["ports"]
    env = {"PATH": os.environ["PATH"], "DOCKER_HOST": plat.docker_host, "NATS_URL": f"nats://127.0.0.1:{ports['nats-1']}", "INSTANCE_ID": "extra",
           "DATA_DIR": str(work / "data"), "LISTEN_ADDR": f"127.0.0.1:{free_port()}", "CLUSTER": "secrets-test", "SPAWNER_RUNTIME": "docker",
           "NATS_NKEY_FILE": copy(plat, f"nats-{service}.seed", work)}
    if service == "auth":
        env["AUTH_KEY_FILES"] = copy(plat, "token-1.pem", work)
    return {k: str(v) for k, v in {**env, **more}.items() if v is not None}


def copy(plat, name, work):
    shutil.copy(pathlib.Path(plat.data, "keys", name), work / name)
    return str(work / name)


def run(service, env):
    return subprocess.run([str(conftest.BIN / f"faas-{service}")], env=env, text=True, capture_output=True, timeout=60)


def pem(private):
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def spoil(path, fault, texts):
    """path holds a good secret; now it has that fault."""
    path = pathlib.Path(path)
    if fault == "missing":
        path.unlink()
    elif fault == "empty":
        path.write_text("")
    elif fault == "cut":
        path.write_text(path.read_text()[: len(path.read_text()) // 2])
    elif fault in ("readable by the group", "readable by all", "writable by the group"):
        path.chmod({"readable by the group": 0o640, "readable by all": 0o604, "writable by the group": 0o620}[fault])
    elif fault == "a link to elsewhere":
        elsewhere = path.parent.parent / f"{path.parent.name}-elsewhere"
        elsewhere.mkdir()
        path.rename(elsewhere / path.name)
        path.symlink_to(elsewhere / path.name)
    elif fault == "a folder":
        path.unlink()
        path.mkdir()
    elif fault == "somebody else's":
        os.chown(path, 12345, 12345)
    else:
        path.write_text(texts[fault])


COMMON = ("missing", "empty", "cut", "readable by the group", "readable by all", "writable by the group", "a link to elsewhere", "a folder", "short",
          "printed in documents") + (("somebody else's",) if os.geteuid() == 0 else ())
refused = {"starts": 0, "tried": 0}


def assert_refused(done, name, what):
    refused["tried"] += 1
    text = done.stdout + done.stderr
    assert done.returncode not in (0, -signal.SIGTERM), (what, done.returncode, text)
    assert name in text, (what, text)
    assert "hunter2" not in text and "PRIVATE KEY" not in text and "SUACSSL3" not in text, (what, text)
    refused["starts"] += 1


def token_texts():
    return {"short": "hunter2\n", "printed in documents": PRINTED_KEY, "a public key": Key().pem.decode(), "another curve": pem(ec.generate_private_key(ec.SECP384R1())),
            "RSA": pem(rsa.generate_private_key(65537, 2048)), "a secret for hashing": "0123456789abcdef0123456789abcdef\n"}


def seed_texts():
    return {"short": "SUhunter2\n", "printed in documents": PRINTED_SEED, "a public key": "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4\n",
            "a wrong checksum": PRINTED_SEED.replace("Y\n", "A\n")}


def test_good_secrets_start(plat, tmp_path):
    """The control: what is spoilt below starts when it is not."""
    for service in SERVICES:
        work = tmp_path / service
        work.mkdir()
        with open(work / "log", "w") as log:
            process = subprocess.Popen([str(conftest.BIN / f"faas-{service}")], env=settings(plat, service, work), stdout=log, stderr=log)
        try:
            wait_until(lambda: '"msg":"started"' in (work / "log").read_text(), 60, f"{service} starts")
        finally:
            process.terminate()
            assert process.wait(60) == 0, (service, (work / "log").read_text())


def test_bad_signing_keys_stop_the_start(plat, tmp_path):
    texts = token_texts()
    for i, fault in enumerate([*COMMON, *(t for t in texts if t not in COMMON)]):
        for is_second in (False, True):  # alone, and behind a good one
            work = tmp_path / f"{i}{is_second}"
            work.mkdir()
            env = settings(plat, "auth", work)
            good, bad = env["AUTH_KEY_FILES"], work / "bad.pem"
            shutil.copy(good, bad)
            spoil(bad, fault, texts)
            if is_second and fault == "a public key":
                continue  # behind the first it may be: it only verifies
            env["AUTH_KEY_FILES"] = f"{good},{bad}" if is_second else str(bad)
            assert_refused(run("auth", env), "bad.pem", fault)
    for value in ("", ",", f"{good},", None):
        assert_refused(run("auth", settings(plat, "auth", work, AUTH_KEY_FILES=value)), "AUTH_KEY_FILES", value)


def test_bad_seeds_stop_the_start_of_every_service(plat, tmp_path):
    texts = seed_texts()
    for service in SERVICES:
        for i, fault in enumerate([*COMMON, *(t for t in texts if t not in COMMON)]):
            work = tmp_path / f"{service}{i}"
            work.mkdir()
            env = settings(plat, service, work)
            spoil(env["NATS_NKEY_FILE"], fault, texts)
            assert_refused(run(service, env), f"nats-{service}.seed", (service, fault))


def test_bad_registry_logins_stop_the_start_of_a_spawner(plat, tmp_path):
    texts = {"short": "hunter2", "not the format": "[]", "no logins": "{}"}
    for i, fault in enumerate(["missing", "empty", "cut", "readable by the group", "a link to elsewhere", "a folder", *texts]):
        work = tmp_path / str(i)
        work.mkdir()
        file = work / "config.json"
        file.touch(0o600)
        file.write_text(json.dumps({"auths": {"127.0.0.1:5000": {"username": "u", "password": "hunter2"}}}))
        spoil(file, fault, texts)
        done = run("spawner", settings(plat, "spawner", work, REGISTRY_AUTH_FILE=file))
        assert_refused(done, "REGISTRY_AUTH_FILE", fault)


def test_bad_tls_keys_stop_the_start_of_a_gateway(plat, tmp_path):
    texts = {"short": "hunter2\n", "another key": pem(ec.generate_private_key(ec.SECP256R1())), "a public key": Key().pem.decode()}
    for i, fault in enumerate([*(f for f in COMMON if f != "printed in documents"), "another key", "a public key"]):
        work = tmp_path / str(i)
        work.mkdir()
        key, cert = work / "tls.key", work / "tls.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost", "-days", "1",
                        "-keyout", key, "-out", cert], check=True, capture_output=True)
        key.chmod(0o600)
        spoil(key, fault, texts)
        done = run("gateway", settings(plat, "gateway", work, LISTEN_TLS=f"127.0.0.1:{free_port()}", TLS_CERT_FILE=cert, TLS_KEY_FILE=key))
        assert_refused(done, "TLS_KEY_FILE", fault)


def test_bad_secrets_of_a_data_folder_stop_faas_up(engine, tmp_path):
    made = Platform(conftest.BIN, str(tmp_path / "data"), free_port(), {}, engine)
    made.up()
    made.down()
    pristine = tmp_path / "pristine"
    shutil.copytree(tmp_path / "data", pristine, ignore=shutil.ignore_patterns("run"))  # there are devices in it, where sandboxes are the runtime
    facts = json.loads((pristine / "cluster.json").read_text())
    texts = {"short": json.dumps({**facts, "route_password": "hunter2"}), "printed in documents": json.dumps({**facts, "route_password": "0" * 32}),
             "no password": json.dumps({k: v for k, v in facts.items() if k != "route_password"})}
    faults = [("cluster.json", f, texts) for f in ("empty", "cut", "readable by the group", "a link to elsewhere", *texts)]
    faults += [("keys/nats-auth.seed", f, seed_texts()) for f in ("empty", "readable by the group", "a link to elsewhere", "short", "printed in documents")]
    faults += [("keys/token-1.pem", f, token_texts()) for f in ("empty", "readable by the group", "a link to elsewhere", "short", "printed in documents")]
    for i, (name, fault, bad) in enumerate(faults):
        data = tmp_path / f"d{i}"
        shutil.copytree(pristine, data)
        spoil(data / name, fault, bad)
        done = subprocess.run([made.faas, "up", "--data", str(data), "--listen", "127.0.0.1:0"], env=made.env, text=True, capture_output=True, timeout=120)
        assert_refused(done, pathlib.Path(name).name, (name, fault))


def test_every_start_with_a_bad_secret_was_refused(promise):
    assert refused["tried"] == refused["starts"] >= 5
    promise(3, f"{refused['starts']} of {refused['tried']} starts with a bad secret refused")
