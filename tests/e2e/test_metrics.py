"""GET /metrics of a whole platform, judged by Prometheus' own tool; that no call goes missing in it; what deploy/ and docs/METRICS.md say of it."""
import collections
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import urllib.parse

import pytest

import conftest
from support import Client, Platform, free_port, wait_until

DEPLOY = conftest.ROOT / "deploy"
ROWS = 6  # functions with figures of their own
CALLS = "faas_publisher_calls_total - faas_publisher_calls_ended_total - faas_publisher_calls_refused_total - faas_publisher_calls_lost_total" \
        " - faas_publisher_calls_cancelled_total - faas_publisher_calls_live"
QUEUED = "faas_publisher_jobs_accepted_total + faas_publisher_jobs_taken_over_total - faas_publisher_jobs_done_total - faas_publisher_jobs_failed_total" \
         " - faas_publisher_jobs_dead_total - faas_publisher_jobs_cancelled_total - faas_publisher_jobs_given_away_total - faas_publisher_jobs_waiting" \
         " - faas_publisher_jobs_running"


@pytest.fixture(scope="module")
def platform(engine, tmp_path_factory):
    port = free_port()
    platform = Platform(conftest.BIN, str(tmp_path_factory.mktemp("metrics")), free_port(), {"gateway": 2, "publisher": 2}, engine,
                        {"GATEWAY_METRICS_LISTEN": f"127.0.0.1:{port}", "PUBLISHER_METRICS_FUNCTIONS": str(ROWS)})
    platform.up()
    platform.door = Client(f"http://127.0.0.1:{port}")
    yield platform
    platform.down()
    platform.check_logs()


class Page:
    """What a scrape brought: (name, labels) -> value, and name -> (kind, help)."""

    def __init__(self, platform):
        answer = platform.door.get("/metrics")
        assert answer.status == 200, answer.text
        self.text = answer.text
        self.kinds = {name: (kind, text) for name, text, kind in re.findall(r"^# HELP (\S+) (.*)\n# TYPE \1 (\S+)$", self.text, re.M)}
        self.rows = {}
        for name, labels, value in re.findall(r"^(\w+)\{(.*)\} (\S+)$", self.text, re.M):
            self.rows[name, tuple(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))] = float(value)

    def sum(self, name, **wanted):
        return sum(value for (of, labels), value in self.rows.items() if of == name and wanted.items() <= dict(labels).items())

    def tell(self, expression, publisher):
        """The value of an expression of names, + and -, for one publisher."""
        return eval(re.sub(r"faas_\w+", lambda m: repr(self.sum(m[0], id=publisher)), expression))  # of constants above

    def names(self):
        return set(self.kinds) | {name for name, _ in self.rows}


def promtool(*args, **more):
    done = subprocess.run(["promtool", *map(str, args)], text=True, capture_output=True, timeout=60, **more)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def settled(platform, claim, what):
    """A page on which the claim holds: a scrape may be of the second before."""
    return wait_until(lambda: (lambda page: page if claim(page) else None)(Page(platform)), 15, what)


@pytest.fixture(scope="module")
def busy(platform):
    """Calls that end in several ways, at once and through the queue; how many of each."""
    user = Client.new(platform.url)
    upper, fail = user.register("faas-examples/upper:latest"), user.register("faas-tests/fail:latest")
    slow = user.register("faas-tests/fail:latest", timeout_ms=300)

    def one(i):
        name, argument = ((upper, "abc"), (fail, "exit 3"), (fail, "nothing"), (slow, "sleep 5000"), ("nobody", "x"), (upper, "abc"))[i % 6]
        return name, user.call(name, argument).status

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        seen = collections.Counter(pool.map(one, range(60)))
    queued = [user.post(f"/async-function/{upper}", "abc").json["call_id"] for _ in range(10)]
    for call in queued:
        assert user.get(f"/v1/calls/{call}?wait=30").json["status"] == "succeeded"
    return user, upper, fail, slow, seen


def test_the_page_is_as_prometheus_wants_it(platform, busy):
    page = Page(platform)
    said = promtool("check", "metrics", input=page.text)
    assert said.strip() == "", said
    headings = re.findall(r"^# TYPE (\S+)", page.text, re.M)
    assert len(headings) == len(set(headings)) > 50
    assert len(page.rows) == sum(not line.startswith("#") for line in page.text.splitlines())  # each row once


def test_what_was_done_is_what_it_says(platform, busy):
    user, upper, fail, slow, seen = busy
    assert seen == {(upper, 200): 20, (fail, 502): 10, (fail, 200): 10, (slow, 504): 10, ("nobody", 404): 10}, seen
    route = {"method": "POST", "route": "/publisher/publish"}
    page = settled(platform, lambda p: sum(p.sum("faas_gateway_requests_total", status=s, **route) for s in ("200", "404", "502", "504")) == 60, "60 requests")
    assert [page.sum("faas_gateway_requests_total", status=s, **route) for s in ("200", "404", "502", "504")] == [30, 10, 10, 10]
    for name, code, count in ((upper, "ok", 30), (fail, "ok", 10), (fail, "function_failed", 10), (slow, "timeout", 10)):
        assert page.sum("faas_function_calls_total", function=name, code=code) == count, (name, code)
    assert page.sum("faas_function_call_duration_seconds_count", function=slow) == 10
    assert page.sum("faas_function_call_duration_seconds_bucket", function=slow, le="0.256") == 0  # each took its 300 ms
    assert not any(("function", "nobody") in labels for _, labels in page.rows)
    assert page.sum("faas_publisher_jobs_done_total") == 10
    assert sum(page.sum("faas_publisher_starts_total", start=s) for s in ("cold", "prewarmed", "warm")) == 60
    assert page.sum("faas_gateway_requests_begun_total") == page.sum("faas_gateway_requests_total") + page.sum("faas_gateway_requests_active")
    assert page.sum("faas_endpoint_requests_total", service="registry", endpoint="register") >= 3  # a change that takes long is sent again


def test_every_call_has_an_outcome_or_is_here(platform, busy):
    def is_balanced(page):
        return all(page.tell(CALLS, p) == 0 and page.tell(QUEUED, p) == 0 for p in ("publisher1", "publisher2"))
    page = settled(platform, lambda p: is_balanced(p) and p.sum("faas_publisher_calls_live") == 0, "all calls have an outcome")
    assert page.sum("faas_publisher_calls_total") >= 60
    rules = (DEPLOY / "alerts.yml").read_text()
    for balance in (CALLS, QUEUED):  # the alerts watch the same sums
        assert f"{balance} != 0" in re.sub(r"\s+", " ", rules)


def test_functions_beyond_the_bound_share_a_row(platform, busy):
    others = [Client.new(platform.url) for _ in range(2)]
    for other in others:
        for _ in range(ROWS):
            assert other.call(other.register("faas-examples/upper:latest"), "x").status == 200
    page = settled(platform, lambda p: p.sum("faas_publisher_calls_ok_total") == 20 + 10 + 10 + 2 * ROWS, "all of them are counted")
    for publisher in ("publisher1", "publisher2"):
        own = collections.Counter(dict(labels)["tenant"] for (name, labels) in page.rows
                                  if name == "faas_function_call_duration_seconds_count" and dict(labels)["id"] == publisher)
        own.pop("other", None)
        assert sum(own.values()) <= ROWS and max(own.values()) <= ROWS // 2, own
    assert page.sum("faas_function_calls_total", code="ok") == page.sum("faas_publisher_calls_ok_total")
    assert page.sum("faas_function_calls_total", function="other", tenant="other") > 0


def test_an_instance_that_hangs_does_not_hang_the_page(platform):
    pid, = platform.pids("auth")
    os.kill(pid, signal.SIGSTOP)
    try:
        page = settled(platform, lambda p: p.sum("faas_instance_answered", service="auth") == 0, "auth does not answer")
        assert not any(dict(labels)["service"] == "auth" for name, labels in page.rows if name.startswith("faas_process"))
        assert page.sum("faas_instance_answered", service="publisher") == 2
        settled(platform, lambda p: p.sum("faas_instance_up", service="auth") == 0, "auth is down")
    finally:
        os.kill(pid, signal.SIGCONT)
    settled(platform, lambda p: p.sum("faas_instance_up", service="auth") == p.sum("faas_instance_answered", service="auth") == 1, "auth is back")


def test_fifty_scrapers_get_whole_pages(platform):
    with concurrent.futures.ThreadPoolExecutor(25) as pool:
        pages = list(pool.map(lambda _: Page(platform), range(50)))
    assert all(page.sum("faas_instance_up") == 7 for page in pages)


def test_the_operators_files_are_as_prometheus_wants_them():
    for check in (("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")):
        assert "SUCCESS" in promtool(*check, cwd=DEPLOY)
    alerts = set(re.findall(r"- alert: (\w+)", (DEPLOY / "alerts.yml").read_text()))
    tested = (DEPLOY / "alerts_test.yml").read_text()
    for alert in alerts:  # each has a case in which it is quiet, and is named in one where it speaks
        assert f"alertname: {alert}, exp_alerts: []" in tested and f'alertname="{alert}",alertstate="firing"' in tested, alert


def expressions():
    board = json.loads((DEPLOY / "dashboard.json").read_text())
    shown = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    return shown + [variable["query"] for variable in board["templating"]["list"]] + [(DEPLOY / "alerts.yml").read_text()]


def test_dashboard_and_alerts_name_what_there_is(platform, busy):
    there = Page(platform).names()
    named = set(re.findall(r"\bfaas_\w+", " ".join(expressions())))
    assert len(named) > 30 and named <= there, named - there


@pytest.fixture
def prometheus(platform, tmp_path):
    """A real one, with the configuration of deploy/ but for the target's port and a scrape a second; asks it."""
    config = (DEPLOY / "prometheus.yml").read_text()
    for printed, here in (("127.0.0.1:9464", platform.door.url.netloc), ("15s", "1s")):
        assert printed in config
        config = config.replace(printed, here)
    (tmp_path / "prometheus.yml").write_text(config)
    (tmp_path / "alerts.yml").write_text((DEPLOY / "alerts.yml").read_text())
    asked = Client(f"http://127.0.0.1:{free_port()}")
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={asked.url.netloc}"],
                                   cwd=tmp_path, stdout=log, stderr=log)

    def query(expr):
        answer = asked.get("/api/v1/query?" + urllib.parse.urlencode({"query": expr})).json
        assert answer["status"] == "success", (expr, answer)
        return answer["data"]["result"]

    def is_there():
        assert process.poll() is None, (tmp_path / "log").read_text()
        try:
            return asked.get("/-/ready").status == 200
        except OSError:
            return False
    try:
        wait_until(is_there, 30, "Prometheus listens")
        yield query
    finally:
        process.terminate()
        process.wait(30)


def test_prometheus_takes_the_page_and_answers_what_the_dashboard_asks(platform, busy, prometheus):
    wait_until(lambda: len(prometheus("faas_instance_up == 1")) == 7, 30, "all instances are in it")
    wait_until(lambda: len(prometheus("count_over_time(faas_instance_up[1m]) >= 3")) == 7, 30, "three scrapes, for rates")
    assert prometheus("up")[0]["value"][1] == "1"
    for expr in expressions()[:-1]:
        if expr.startswith("faas_") or "(faas_" in expr and not expr.startswith("label_values"):
            assert prometheus(expr.replace("$__rate_interval", "1m").replace("$function", ".*")), f"nothing is shown for {expr}"
    assert prometheus('ALERTS{severity="critical"}') == []


def test_the_commands_of_the_document_run(engine, tmp_path):
    script, = re.findall(r"```sh\n(.*?)```", (conftest.ROOT / "docs/METRICS.md").read_text(), re.S)
    for printed, here in (("build/release/bin", str(conftest.BIN)), ("127.0.0.1:9464", f"127.0.0.1:{free_port()}"),
                          ("faas up", f"faas up --listen 127.0.0.1:{free_port()}")):
        assert printed in script
        script = script.replace(printed, here)
    env = {**os.environ, "DOCKER_HOST": engine, "HOME": str(tmp_path)}
    env.pop("XDG_CONFIG_HOME", None)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=conftest.ROOT, env=env, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0 and "\nfaas_instance_up{" in done.stdout, (done.stdout, done.stderr)


def test_the_document_lists_every_metric(platform, busy):
    page = Page(platform)
    table = "".join(f"| `{name}` | {kind} | {text} |\n" for name, (kind, text) in page.kinds.items())
    shown = (conftest.ROOT / "docs/METRICS.md").read_text()
    assert table in shown, f"docs/METRICS.md: its table should be\n{table}"
