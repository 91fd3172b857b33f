"""docs/tracking-server.md names every setting, every number and every verb, and no other."""

import re
from pathlib import Path

import typer

from teststrip.cli import track
from teststrip.track.server.config import SECRETS, ServerConfig
from teststrip.track.server.numbers import Numbers

TEXT = (Path(__file__).parents[2] / "docs" / "tracking-server.md").read_text()


def test_all_settings_are_there_and_no_other() -> None:
    rows = re.findall(r"^\| `([A-Z_0-9]+)`( \*)? \|", TEXT, re.MULTILINE)
    assert {name.lower() for name, _ in rows} == set(ServerConfig.model_fields)
    assert {name.lower() for name, star in rows if star} == set(SECRETS)


def test_all_numbers_are_there(tmp_path) -> None:
    exposed = Numbers(lambda: True, [tmp_path]).text().decode()
    ours = {
        name.removesuffix("_total")
        for name in re.findall(r"^# TYPE (teststrip_track_\w+)", exposed, re.MULTILINE)
        if not name.endswith("_created")
    }
    told = {name.removesuffix("_total") for name in re.findall(r"`(teststrip_track_\w+)", TEXT)}
    assert told == ours


def test_all_verbs_exist() -> None:
    group = typer.main.get_command(track.app)
    named = set(re.findall(r"teststrip track ([a-z]+)", TEXT))
    assert {"serve", "migrate", "gc", "backup", "restore"} <= named
    assert named <= set(group.commands)  # type: ignore[attr-defined]
