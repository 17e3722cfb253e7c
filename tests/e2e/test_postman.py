"""docs/faas.postman_collection.json, as it is, run by newman against a running platform; and the contract as the gateway serves it."""
import json
import subprocess

import pytest

import conftest
from support import Client, unique

COLLECTION = conftest.ROOT / "docs/faas.postman_collection.json"
TOOLS = subprocess.run([conftest.ROOT / "scripts/node-tools"], text=True, capture_output=True)


def newman(platform, tmp_path, image):
    report = tmp_path / "report.json"
    variables = {"url": platform.url, "username": unique(), "function": unique("f"), "image": image}
    done = subprocess.run([f"{TOOLS.stdout.strip()}/newman", "run", COLLECTION, "--color", "off", "--reporters", "cli,json", "--reporter-json-export", report,
                           *(arg for name, value in variables.items() for arg in ("--env-var", f"{name}={value}"))],
                          text=True, capture_output=True, timeout=120)
    return done, json.loads(report.read_text())["run"]


@pytest.fixture(autouse=True)
def tools():
    assert TOOLS.returncode == 0, TOOLS.stderr


def test_the_collection_holds(platform, tmp_path):
    done, run = newman(platform, tmp_path, "faas-examples/upper:latest")
    assert done.returncode == 0 and run["failures"] == [], done.stdout
    requests = len(json.loads(COLLECTION.read_text())["item"])
    assert run["stats"]["requests"] == {"total": requests, "pending": 0, "failed": 0} and run["stats"]["assertions"]["total"] > requests


def test_it_would_not_hold_for_another_function(platform, tmp_path):
    done, run = newman(platform, tmp_path, "faas-examples/echo:latest")
    assert done.returncode == 1
    assert {failure["source"]["name"] for failure in run["failures"]} == {"call it", "quotes, newlines and other letters come back"}, done.stdout


def test_the_contract_is_served_as_it_is(platform):
    anyone = Client(platform.url)
    answer = anyone.get("/openapi.yaml")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/yaml")
    assert answer.body == (conftest.ROOT / "docs/openapi.yaml").read_bytes()
    assert anyone.post("/openapi.yaml", "x").status == 405
