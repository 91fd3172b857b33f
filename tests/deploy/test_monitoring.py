"""What watches: its numbers are those that real processes show, its rules fire, its boards open.

A real Prometheus asks a real tracking server and a real service with the file of deploy/, and is
asked what every panel and every alert asks.
"""

import json
import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml

from teststrip.testing.service_process import ServiceProcess
from teststrip.testing.track_process import TrackProcess

pytestmark = pytest.mark.deploy
WATCH = Path(__file__).parents[2] / "deploy" / "monitoring"
BOARDS = sorted((WATCH / "grafana").glob("*.json"))
RULES = yaml.safe_load((WATCH / "alerts.yaml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
ENDINGS = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
NAME = re.compile(r"\b(?:teststrip|process|DCGM)_\w+")
OF_PROMETHEUS = {"up"}
PATIENCE_S = 120


def panels(board: Path) -> list[dict]:
    return [p for p in json.loads(board.read_text())["panels"] if p["type"] != "row"]


def expressions() -> dict[str, str]:
    """Where it stands -> what is asked."""
    asked = {
        f"{board.stem}: {panel['title']} {target['refId']}": target["expr"]
        for board in BOARDS
        for panel in panels(board)
        for target in panel["targets"]
    }
    return asked | {f"alert {rule['alert']}": rule["expr"] for rule in ALERTS}


def series(text: str) -> set[str]:
    """Every series that this page can show, also those without a sample yet."""
    types = re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE)
    return {name + end for name, kind in types for end in ENDINGS.get(kind, ("",))}


@pytest.fixture(scope="module")
def track(tmp_path_factory):
    with TrackProcess(tmp_path_factory.mktemp("track")) as started:
        yield started


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Web and worker in one process: it shows the numbers of both."""
    with ServiceProcess(tmp_path_factory.mktemp("service"), "up") as started:
        started.until(started.post({"prompt": "a fox", "n": 1, "recipe": {"steps": 2}}))
        yield started


@pytest.fixture(scope="module")
def gpu_numbers():
    lines = (Path(__file__).parent / "dcgm_counters.txt").read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


@pytest.fixture(scope="module")
def shown(track, service, gpu_numbers):
    """Every series that a real process shows."""
    with track.http() as client:
        of_track = client.get("/metrics")
    of_service = service.get("/metrics")
    assert {of_track.status_code, of_service.status_code} == {200}
    return series(of_track.text) | series(of_service.text) | gpu_numbers


@pytest.mark.parametrize("place", expressions())
def test_every_number_that_is_asked_for_is_shown_by_somebody(place, shown):
    named = set(NAME.findall(expressions()[place]))

    assert named <= shown
    assert named or set(re.findall(r"\bup\b", expressions()[place])) == OF_PROMETHEUS


def test_every_number_of_the_tracking_server_is_on_its_board(track):
    with track.http() as client:
        families = set(re.findall(r"^# TYPE (teststrip_\w+)", client.get("/metrics").text, re.M))
    board = " ".join(text for place, text in expressions().items() if place.startswith("tracking"))

    families = {name for name in families if not name.endswith("_created")}
    assert families
    assert {name for name in families if name not in board} == set()


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_a_board_is_one_that_grafana_shows_whole(board):
    data = json.loads(board.read_text())
    assert data["uid"] == f"teststrip-{board.stem}"
    taken: set[tuple[int, int]] = set()
    for panel in data["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    rows = {y for _, y in taken}
    assert rows == set(range(max(rows) + 1)), "there are holes"
    assert len({panel["id"] for panel in data["panels"]}) == len(data["panels"])
    for panel in panels(board):
        sources = {panel["datasource"]["uid"]} | {t["datasource"]["uid"] for t in panel["targets"]}
        assert sources == {"${source}"}
        assert panel["targets"]


def test_the_rules_are_rules_and_each_was_seen_to_fire_and_to_be_silent(tool):
    tool("promtool", "check", "rules", WATCH / "alerts.yaml")
    tool("promtool", "test", "rules", "alerts.test.yaml", cwd=WATCH)

    tests = yaml.safe_load((WATCH / "alerts.test.yaml").read_text())["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    names = {rule["alert"] for rule in ALERTS}
    assert {c["alertname"] for c in checks if c["exp_alerts"]} == names
    (quiet,) = [test for test in tests if test["name"] == "a quiet day"]
    assert {c["alertname"] for c in quiet["alert_rule_test"] if not c["exp_alerts"]} == names


def test_a_rule_that_is_wrong_is_refused(tool, tmp_path):
    broken = tmp_path / "alerts.yaml"
    broken.write_text((WATCH / "alerts.yaml").read_text().replace("== 0", "== == 0", 1))

    tool("promtool", "check", "rules", broken, rc=1)


def test_every_alert_says_how_urgent_it_is_and_what_to_do(repository):
    manual = (repository / "docs" / "deploy" / "monitoring.md").read_text()
    assert f"{len(ALERTS)} rules" in manual
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert f"`{rule['alert']}`" in manual, rule["alert"]


def test_compose_has_whom_prometheus_asks(repository):
    asked = yaml.safe_load((WATCH / "prometheus.yaml").read_text())["scrape_configs"]
    names = {n for job in asked for found in job.get("dns_sd_configs", []) for n in found["names"]}
    names |= {
        target.partition(":")[0]
        for job in asked
        for fixed in job.get("static_configs", [])
        for target in fixed["targets"]
    }
    services = set()
    for file in ("compose.yaml", "compose.gpu.yaml"):
        services |= set(yaml.safe_load((repository / "deploy" / file).read_text())["services"])

    assert names <= services


@pytest.fixture(scope="module")
def prometheus(tool, tool_path, track, service, tmp_path_factory):
    """The address of a real Prometheus with our file, whose names lead to processes of here."""
    place = tmp_path_factory.mktemp("prometheus")
    (place / "track_password").write_text("numbers-for-prometheus")
    (place / "prometheus_key").write_text("not-asked-on-loopback")
    with track.http() as client:  # a user without any right
        user = {"username": "prometheus", "password": "numbers-for-prometheus"}
        assert client.post("/api/2.0/mlflow/users/create", json=user).status_code == 200
    text = (WATCH / "prometheus.yaml").read_text()
    text = text.replace("/run/secrets/", f"{place}/").replace("10s", "1s")
    config = yaml.safe_load(text)
    there = {
        "teststrip-track": track.address,
        "teststrip-web": service.address,
        "teststrip-worker": service.address,
    }
    for job in config["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        address = there.get(job["job_name"], "").removeprefix("http://")
        job["static_configs"] = [{"targets": [address]}] if address else []
    (place / "prometheus.yml").write_text(yaml.safe_dump(config))
    (place / "alerts.yml").write_text((WATCH / "alerts.yaml").read_text())
    tool("promtool", "check", "config", place / "prometheus.yml")
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                tool_path("prometheus"),
                f"--config.file={place / 'prometheus.yml'}",
                f"--storage.tsdb.path={place / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield wait(lambda: listening(place / "log"), process, place / "log")
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def listening(log: Path) -> str:
    """Where it says that it listens; "" until then."""
    found = re.search(r"Listening on.*address=(127\.0\.0\.1:\d+)", log.read_text())
    return f"http://{found[1]}" if found else ""


def wait(ask, process, log):
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        if found := ask():
            return found
        time.sleep(0.1)
    pytest.fail(log.read_text()[-3000:])


def query(address: str, expression: str) -> dict:
    # "interval" is Grafana's own variable
    asked = expression.replace("$__rate_interval", "1m")
    answer = httpx.get(
        f"{address}/api/v1/query", params={"query": asked}, timeout=60, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["result"]


def test_prometheus_is_let_in_everywhere_and_understands_every_panel(prometheus):
    until = time.monotonic() + PATIENCE_S
    jobs = {}
    wanted = {f"teststrip-{name}": "1" for name in ("track", "web", "worker")}
    while time.monotonic() < until and jobs != wanted:
        jobs = {row["metric"]["job"]: row["value"][1] for row in query(prometheus, "up")}
        time.sleep(0.1)
    assert jobs == wanted

    for place, expression in expressions().items():
        assert isinstance(query(prometheus, expression), list), place
    assert query(prometheus, "teststrip_track_database_up")[0]["value"][1] == "1"
    assert query(prometheus, "sum(teststrip_images_total) > 0")
    rules = httpx.get(f"{prometheus}/api/v1/rules", trust_env=False).json()["data"]["groups"]
    loaded = [rule for group in rules for rule in group["rules"]]
    assert len(loaded) == len(ALERTS)
