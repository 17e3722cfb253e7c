"""docker-compose.yml as Compose runs it: from nothing, the main job over port 80, other numbers of parts, nothing left."""
import json
import os
import re
import shutil
import tarfile
import time

import pytest

from conftest import DEFAULTS, IS_FULL, ROOT, URL, containers, docker, figure, memory_pss, run
from load import Load
from support import Client, wait_until

COMPOSES = [["docker", "compose"]]
if IS_FULL and shutil.which("docker-compose"):
    COMPOSES.append(["docker-compose"])


MADE_BY_THE_ENGINE = {".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"}


def short(image):
    return image.split("/")[-1].split(":")[0]


def compose(tree, *args, command=COMPOSES[0], **more):
    return run(*command, *args, cwd=tree.path, **more).stdout.strip()


def ids(tree, service):
    return set(compose(tree, "ps", "-q", service).split())


def are_healthy(tree):
    return set(docker("inspect", "-f", "{{.State.Health.Status}}", *compose(tree, "ps", "-q").split()).split()) == {"healthy"}


def main_job(url=URL):
    user = Client.new(url)
    name = user.register("faas-examples/upper:latest")
    answer = user.call(name, "abc")
    assert (answer.status, answer.text) == (200, "ABC"), answer.text
    return user


def readme():
    """The README's commands: start, another number of spawners, end."""
    block = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text().split("\n## In containers\n", 1)[1], re.S)[0]
    commands = block.splitlines()
    assert len(commands) == 3
    return commands


def type_in(tree, command):
    run("bash", "-euo", "pipefail", "-c", command, cwd=tree.path)


@pytest.fixture(scope="module")
def deployment(tree):
    began = time.monotonic()
    type_in(tree, readme()[0])
    figure("scripts/run (Compose) to all healthy", f"{time.monotonic() - began:.1f} s")
    yield tree
    type_in(tree, readme()[2])
    assert containers(running=False) == {}
    compose(tree, "down", "-v")


def test_the_main_job_over_port_80(deployment):
    assert Client(URL).get("/healthz").text == "OK"
    main_job()
    for service, count in DEFAULTS.items():
        assert len(ids(deployment, service)) == count, service
    ours, nats = memory_pss()
    figure("memory (PSS) of 20 services, of 3 NATS servers", f"{ours:.0f} MB, {nats:.0f} MB")


def test_only_the_gateway_can_be_reached(deployment):
    for name, container in containers().items():
        ports = json.loads(docker("inspect", "-f", "{{json .NetworkSettings.Ports}}", container))
        published = [p for p, bindings in ports.items() if bindings]
        assert published == (["8080/tcp"] if "gateway" in name else []), name


def test_every_part_is_confined(deployment):
    for name, container in containers().items():
        info = json.loads(docker("inspect", container))[0]
        host = info["HostConfig"]
        assert info["Config"]["User"].startswith("10001:"), name
        assert host["CapDrop"] == ["ALL"] and not host["Privileged"], name
        assert host["Memory"] == 512 * 1024 * 1024 and host["NanoCpus"] > 0, name
        assert host["RestartPolicy"]["Name"] in ("always", "unless-stopped"), name
        binds = [m["Source"] for m in info["Mounts"] if m["Type"] == "bind"]
        assert all("/secrets/" in b for b in binds if "spawner" not in name or not b.endswith("docker.sock")), binds


def test_images_hold_the_program_alone(images, tmp_path):
    for image, size in images.items():
        is_native = short(image) == "spawner-native"
        assert size < (70e6 if is_native else 30e6), image
        container = docker("create", image)
        docker("export", "-o", tmp_path / "root.tar", container)
        docker("rm", "-v", container)
        with tarfile.open(tmp_path / "root.tar") as tar:
            programs = [m.name for m in tar if m.isfile() and m.mode & 0o111 and ".so" not in m.name and m.name not in MADE_BY_THE_ENGINE]
        wanted = {"spawner": ["faas-enter", "faas-spawner"], "spawner-native": ["faas-enter", "faas-image", "faas-outbound", "faas-spawner", "faas-zygote"], "nats": ["faas-probe", "nats-server"], "cli": ["faas"]}.get(short(image), [f"faas-{short(image)}"])
        assert sorted(programs) == [f"usr/bin/{name}" for name in wanted], programs
        assert docker("image", "inspect", "-f", "{{.Config.User}}", image) == ("0:0" if is_native else "10001:10001")


OURS = {"ADMIN_TAG", "BASE", "COMPOSE_PROJECT_NAME", "FAAS_VERSION", "NATS_CA_TAG", "SEEDS_TAG", "SECRETS_KEY_TAG", "TLS_TAG", "TOKEN_KEY_TAG", "DOCKER_HOST"} | {
    f"NATS{n}_{what}" for n in (1, 2, 3) for what in ("TAG", "CONF_TAG")}  # written by scripts/run itself, or another thing on Windows


def test_run_ps1_hands_on_every_setting():
    run_script = (ROOT / "scripts/run").read_text()
    names = set(re.findall(r"\bkeep ([A-Z0-9_]+) ", run_script)) | set(re.findall(r"\$\{([A-Z][A-Z0-9_]+):-", run_script)) - OURS
    for file in ROOT.glob("docker-compose*.yml"):
        names |= set(re.findall(r"\$\{([A-Z0-9_]+)", file.read_text()))
    text = (ROOT / "scripts/run.ps1").read_text()
    assert set(re.findall(r"'([A-Z0-9_]+)'", text.split("$settings = @(", 1)[1].split(")", 1)[0])) == names - OURS - {"NAME"}
    assert text.count("scripts/run @args") == 1 and text.count('scripts/run" @args') == 1


def faas(*args):
    return run(os.path.join(os.environ["FAAS_BIN"], "faas"), *args, check=False, timeout=300)


def test_faas_scale(deployment):
    before = containers("registry-service")
    with Load(URL) as load:
        done = faas("scale", "spawner=12", "auth-service=2")
        assert (done.returncode, done.stdout) == (0, "project faas: spawner 12\nproject faas: auth 2\n"), done
        assert (len(ids(deployment, "spawner-service")), len(ids(deployment, "auth-service"))) == (12, 2)
        assert containers("registry-service") == before  # what is not named is left alone
        load.more(5)
    load.check(allowed={"503 unavailable"})
    for args, status, says in [(["spawner=2", "--name", "nobody"], 4, "no stack and no Compose project nobody runs"), (["gateway=2"], 2, "it has a port of the machine")]:
        done = faas("scale", *args)
        assert done.returncode == status and says in done.stderr, done
    without = run(os.path.join(os.environ["FAAS_BIN"], "faas"), "scale", "spawner=2", check=False, env={**os.environ, "PATH": "/nowhere"})
    assert without.returncode == 5 and "docker cannot be started: No such file" in without.stderr, without


def test_other_numbers_of_parts_under_load(deployment):
    with Load(URL) as load:
        compose(deployment, "up", "-d", "--no-build", "--scale", "spawner-service=12", "--scale", "registry-service=2")
        assert (len(ids(deployment, "spawner-service")), len(ids(deployment, "registry-service"))) == (12, 2)
        load.more(5)
        type_in(deployment, readme()[1])
        assert (len(ids(deployment, "spawner-service")), len(ids(deployment, "registry-service"))) == (4, 3)
        load.more(5)
    figure("Compose: spawners 10, 12, 4 under load", load.check(allowed={"503 unavailable"}))  # of the registry that begins


def test_a_killed_part_comes_back_and_nothing_is_lost(deployment):
    with Load(URL) as load:
        for service in ("nats2", "spawner-service", "auth-service"):
            victim = sorted(ids(deployment, service))[0]
            pid = docker("inspect", "-f", "{{.State.Pid}}", victim)
            os.kill(int(pid), 9)  # docker kill would be the operator's wish, after which nothing is started again
            wait_until(lambda: docker("inspect", "-f", "{{.State.Running}} {{.State.Pid}}", victim) not in (f"true {pid}", "false 0"), 60, "it comes back")
            load.more(5)
    wait_until(lambda: docker("ps", "-aq", "--filter", "label=faas.cluster=faas") == "", 60, "other spawners have removed what the killed one ran")
    figure("Compose: a NATS server, a spawner, an auth killed", load.check(allowed={"502 lost", "503 unavailable"}))


def test_run_again_changes_nothing(deployment):
    before = containers()
    secrets = {p: p.read_bytes() for p in (deployment.path / "secrets").rglob("*") if p.is_file() and p.name != "lock"}
    settings = (deployment.path / ".env").read_text()
    compose(deployment, "up", "-d", "--no-build")
    scaled = containers()
    deployment.start()
    assert containers() == scaled and set(before.values()) & set(scaled.values())
    assert {p: p.read_bytes() for p in secrets} == secrets
    assert (deployment.path / ".env").read_text() == settings


def test_down_ends_at_once_leaves_the_data_and_up_finds_it(deployment):
    user = main_job()
    compose(deployment, "stop", "-t", "30")
    for name, container in containers(running=False).items():
        assert docker("inspect", "-f", "{{.State.ExitCode}}", container) == "0" or "nats" in name, name
    compose(deployment, "down")
    assert containers(running=False) == {} and "faas_faas" not in docker("network", "ls", "--format", "{{.Name}}").split()
    assert docker("ps", "-aq", "--filter", "label=faas.cluster=faas") == ""
    assert set(docker("volume", "ls", "-q").split()) == {"faas_nats1-data", "faas_nats2-data", "faas_nats3-data"}
    figure("scripts/run with data of before to all healthy", f"{deployment.start():.1f} s")
    assert user.get("/auth/validate").status == 200
    assert len(user.get("/registry/list").json) == 1


@pytest.mark.skipif(not IS_FULL, reason="make test-deploy")
@pytest.mark.parametrize("command", COMPOSES, ids=["-".join(c) for c in COMPOSES])
def test_each_compose_takes_the_files(deployment, command):
    compose(deployment, "down", "-v")
    compose(deployment, "up", "-d", "--no-build", "--scale", "spawner-service=2", command=command)
    wait_until(lambda: are_healthy(deployment), 120, "all are healthy")
    main_job()
    compose(deployment, "down", "-v", command=command)
    assert containers(running=False) == {}


@pytest.mark.skipif(not IS_FULL, reason="make test-deploy")
@pytest.mark.parametrize("buildkit", ["0", "1"])
def test_each_builder_builds_the_images_in_debian_13(buildkit):
    env = {**os.environ, "DOCKER_BUILDKIT": buildkit}
    made = run(ROOT / "scripts/images", "--tag", f"builder{buildkit}", env=env).stdout
    for line in made.splitlines():
        figure(f"image built by builder {buildkit}: {line.split()[0]}", " ".join(line.split()[1:]))
    image = f"faas/auth:builder{buildkit}"
    assert docker("run", "--rm", image, "--version") == docker("run", "--rm", "faas/auth:" + version(), "--version")
    assert run("docker", "run", "--rm", image, "--healthcheck", check=False).returncode == 1


def version():
    text = (ROOT / "libfaas/version.h").read_text()
    return text.split('FAAS_VERSION "', 1)[1].split('"')[0]
