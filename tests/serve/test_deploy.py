"""The files of deploy/ are read as their programs read them, and name what is really there."""

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


def test_every_number_of_the_service_that_is_watched_exists():
    named = set(NUMBER.findall((WATCH / "alerts.yaml").read_text()))
    ours = {name for name in named if not name.startswith("teststrip_track_")}

    assert ours
    assert ours <= numbers()


def test_every_number_that_the_dashboard_shows_exists():
    named = set(NUMBER.findall((WATCH / "grafana" / "service.json").read_text()))

    assert named
    assert named <= numbers()


def test_the_dashboard_shows_every_number_of_the_service():
    shown = set(NUMBER.findall((WATCH / "grafana" / "service.json").read_text()))
    families = {family.name for family in Metrics().registry.collect()}

    missing = {f for f in families if not any(s.startswith(f) for s in shown)}
    assert missing == set()


def test_a_container_that_is_told_to_go_has_the_time_to_drain():
    grace = int(COMPOSE["services"]["worker"]["stop_grace_period"].removesuffix("s"))

    assert grace > ServiceConfig().drain_s
