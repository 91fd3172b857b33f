"""The files of deploy/ are read as their programs read them, and name what is really there."""

import json
import re
from pathlib import Path

import pytest
import yaml

from teststrip.serve.config import ServiceConfig
from teststrip.serve.operate.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
WATCH = DEPLOY / "monitoring"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SETTING = re.compile(r"TESTSTRIP_SERVICE_([A-Z0-9_]+)")
NUMBER = re.compile(r"\bteststrip_\w+")
FILES = [p for p in sorted(DEPLOY.rglob("*")) if p.is_file()]


def numbers() -> set[str]:
    """Every series that a process of the service can show."""
    made = Metrics()
    return {
        name + ending
        for family in made.registry.collect()
        for name in [family.name]
        for ending in {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(
            family.type, [""]
        )
    }


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_setting_that_is_named_exists(path):
    fields = {name.upper() for name in ServiceConfig.model_fields}
    named = {found.removesuffix("_") for found in SETTING.findall(path.read_text())}

    assert named <= fields | {f"{name}_FILE" for name in fields}


@pytest.mark.parametrize("name", ["grafana/service.json", "alerts.yaml"])
def test_every_number_that_is_shown_or_watched_exists(name):
    named = set(NUMBER.findall((WATCH / name).read_text()))

    assert named
    assert named <= numbers()


def test_the_dashboard_shows_every_number_of_the_service():
    shown = set(NUMBER.findall((WATCH / "grafana" / "service.json").read_text()))
    families = {family.name for family in Metrics().registry.collect()}

    missing = {f for f in families if not any(s.startswith(f) for s in shown)}
    assert missing == set()


def test_the_panels_of_the_dashboard_do_not_lie_over_each_other():
    board = json.loads((WATCH / "grafana" / "service.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_a_container_that_is_told_to_go_has_the_time_to_drain():
    grace = int(COMPOSE["services"]["worker"]["stop_grace_period"].removesuffix("s"))

    assert grace > ServiceConfig().drain_s


def test_prometheus_and_its_alerts_are_yaml_of_the_right_shape():
    asked = yaml.safe_load((WATCH / "prometheus.yaml").read_text())
    rules = yaml.safe_load((WATCH / "alerts.yaml").read_text())

    names = {config["names"][0] for s in asked["scrape_configs"] for config in s["dns_sd_configs"]}
    assert names <= set(COMPOSE["services"])
    assert all(r["annotations"]["summary"] for g in rules["groups"] for r in g["rules"])
