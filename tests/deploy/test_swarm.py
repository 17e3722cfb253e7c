"""The same file as a stack: deployed, scaled, updated and hit while callers go on; every acknowledged write and answer holds."""
import concurrent.futures
import os

import pytest

from conftest import DEFAULTS, IS_FULL, ROOT, URL, containers, docker, figure, run
from load import Load
from support import Client, wait_until

# A registry that has just begun refuses new registrations for a moment: "503 unavailable" is it.
OFTEN = {"HEALTH_INTERVAL": "2s"}  # what a rolling update waits for at each of its steps
pytestmark = pytest.mark.skipif(not IS_FULL, reason="make test-deploy")
# docs/WRITEUP.md: names that other deployments use.
OLDER_NAMES = ["NATS_URL=", "NATS1_URL=nats://nats1:4222", "NATS2_URL=nats://nats2:4222", "MAX_CONTAINERS=5", "TIMEOUT=30", "MESSAGE_QUEUE=functions.execute",
               "BUCKET_NAME=functions", "LISTEN_ADDR=", "SERVER_ADDRESS=0.0.0.0:8080"]


def replicas():
    """service -> (running and healthy, wanted)"""
    rows = [line.split() for line in docker("service", "ls", "--format", "{{.Name}} {{.Replicas}}").splitlines()]
    return {name.removeprefix("faas_"): tuple(int(n) for n in count.split("(")[0].split("/")) for name, count in rows}


def await_replicas(**wanted):
    wait_until(lambda: all(have == want for have, want in replicas().values()) and
               all(replicas()[name.replace("_", "-")] == (n, n) for name, n in wanted.items()), 180, f"all replicas are well: {wanted}")


@pytest.fixture(scope="module")
def stack(tree):
    figure("scripts/run --swarm to all healthy", f"{tree.start('--swarm', **OFTEN):.1f} s")
    yield tree
    docker("swarm", "leave", "--force")


def test_the_main_job(stack):
    assert {name: want for name, (_, want) in replicas().items()} == DEFAULTS
    user = Client.new(URL)
    name = user.register("faas-examples/upper:latest")
    assert user.call(name, "abc").text == "ABC"


def test_the_plain_command_deploys_it(stack):
    """Typed by hand, with nothing in the environment but where this engine's socket is: the stack is as it was."""
    before = containers()
    run("docker", "stack", "deploy", "--resolve-image", "never", "-c", "docker-compose.yml", "faas", cwd=stack.path,
        env={**os.environ, **OFTEN, "DOCKER_SOCK": os.environ["DOCKER_HOST"].removeprefix("unix://")})
    await_replicas()
    assert containers() == before


def test_scaled_up_and_down_under_load(stack):
    with Load(URL) as load:
        for count, scale in (6, ["docker", "service", "scale", "-d"]), (3, [os.path.join(os.environ["FAAS_BIN"], "faas"), "scale"]):
            stack_name = "faas_" if scale[0] == "docker" else ""
            run(*scale, *(f"{stack_name}{name}-service={number}" for name, number in {"auth": count, "registry": count, "spawner": 2 * count}.items()))
            await_replicas(auth_service=count, registry_service=count, spawner_service=2 * count)
            load.more(5)
    figure("Swarm: 6 auth, 6 registry, 12 spawners, and back", load.check({"503 unavailable"}))


@pytest.mark.parametrize("service, allowed", [
    ("nats1", {"503 unavailable"}), ("spawner-service", {"502 lost", "503 unavailable"}), ("gateway", {"unreachable"}), ("publisher-service", {"502 lost", "503 unavailable"}),
])
def test_killed_under_load(stack, service, allowed):
    with Load(URL) as load:
        victim = sorted(containers(service).values())[0]
        os.kill(int(docker("inspect", "-f", "{{.State.Pid}}", victim)), 9)
        wait_until(lambda: victim not in containers(service).values(), 60, "the engine noticed")
        await_replicas()
        load.more(10)
    figure(f"Swarm: kill -9 of {service}", load.check(allowed))


def update(service, settings):
    before = set(containers(service).values())
    docker("service", "update", "--no-resolve-image", "--update-delay", "0s", "--update-monitor", "1s",
           *[word for setting in settings for word in ("--env-add", setting)], f"faas_{service}")
    await_replicas()
    assert not before & set(containers(service).values())


@pytest.mark.parametrize("service, allowed", [
    ("auth-service", ()), ("registry-service", {"503 unavailable"}), ("publisher-service", ()), ("spawner-service", ()), ("gateway", {"unreachable", "503 unavailable"}),
])
def test_updated_under_load(stack, service, allowed):
    """A rolling update, to the settings of other deployments."""
    with Load(URL) as load:
        update(service, OLDER_NAMES)
        load.more(5)
    figure(f"Swarm: rolling update of {service}", load.check(allowed))


def test_a_gateway_that_leaves_serves_others_while_a_long_call_runs(stack):
    run(ROOT / "scripts/examples", "--tests")
    with Load(URL, callers=1) as load, concurrent.futures.ThreadPoolExecutor() as pool:
        shell = load.user.register("faas-tests/sh:latest", timeout_ms=60000)
        assert load.user.call(shell, "echo warm").status == 200
        long = pool.submit(load.user.call, shell, "sleep 8; echo done")
        update("gateway", ["LOG_LEVEL=warn"])
        assert long.result().text == "done\n"
        load.more(5)
    figure("Swarm: rolling update of gateway while a call of 8 s runs", load.check({"unreachable", "503 unavailable"}))


def test_removed_nothing_is_left_but_the_data(stack):
    docker("stack", "rm", "faas")
    wait_until(lambda: containers(running=False) == {}, 60, "no container")
    wait_until(lambda: "faas_faas" not in docker("network", "ls", "--format", "{{.Name}}").split(), 60, "no network")
    assert docker("service", "ls", "-q") == docker("secret", "ls", "-q") == docker("config", "ls", "-q") == ""
    assert docker("ps", "-aq", "--filter", "label=faas.cluster=faas") == ""
    images = {"faas_spawner-run", "faas_spawner-images"}  # of Compose with the native runtime, when that ran before
    assert set(docker("volume", "ls", "-q").split()) - images == {"faas_nats1-data", "faas_nats2-data", "faas_nats3-data"}


def test_deployed_again_it_finds_its_data(stack):
    figure("scripts/run --swarm with data of before to all healthy", f"{stack.start('--swarm', **OFTEN):.1f} s")
    user = Client.new(URL)
    assert user.call(user.register("faas-examples/upper:latest"), "abc").text == "ABC"
    docker("stack", "rm", "faas")
    wait_until(lambda: containers(running=False) == {}, 60, "no container")
