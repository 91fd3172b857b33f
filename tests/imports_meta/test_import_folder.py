"""A folder becomes a study: again is harmless, nothing outside is read, what is broken is named."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.imports_meta import layouts as lay
from teststrip.cli.main import main
from teststrip.errors import ConfigError, StudyError
from teststrip.wire.importing import import_folder
from teststrip.wire.tables import table_of


def rows(home: Path, name: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = pq.read_table(
        home / "studies" / name / "images.parquet"
    ).to_pylist()
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of five tools, some without settings, some no pictures at all."""
    place = tmp_path / "old work"
    (place / "deep" / "er").mkdir(parents=True)
    files = {
        "a.png": lay.png({"parameters": lay.A1111_TEXT}),
        "b.JPG": lay.exif("JPEG", lay.user_comment(lay.A1111_TEXT)),
        "deep/c.webp": lay.exif("WEBP", tags={0x0110: "prompt:" + lay.as_text(lay.comfy())}),
        "deep/er/d.png": lay.png({"invokeai_metadata": lay.as_text(lay.INVOKE)}, 1),
        "e.png": lay.png({"parameters": lay.as_text(lay.SWARM)}, 2),
        "<img src=x onerror=alert(1)>.png": lay.png({}, 3),
        "again.png": lay.png({"parameters": lay.A1111_TEXT}),
        "broken.png": lay.png({})[:90],
        "notes.txt": b"no picture",
    }
    for name, data in files.items():
        (place / name).write_bytes(data)
    outside = tmp_path / "secret.png"
    outside.write_bytes(lay.png({}, 9))
    (place / "link.png").symlink_to(outside)
    (place / "dirlink").symlink_to(tmp_path)
    return place


def test_a_folder_becomes_a_study_in_the_columns_of_one(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = import_folder(folder, home)

    assert done.name == "old-work"
    assert (done.images, done.new, done.same, done.paired) == (6, 6, 1, False)
    assert done.tools == {"A1111": 2, "ComfyUI": 1, "InvokeAI": 1, "SwarmUI": 1, "none": 1}
    assert list(done.broken) == ["broken.png"]
    assert (done.skipped.links, done.skipped.others) == (2, 1)
    table = rows(home, "old-work")
    by_tool = {row["tags"]: row for row in table}
    assert {row["status"] for row in table} == {"ok"}
    assert by_tool["A1111"]["recipe.scheduler"] == "dpmpp_2m_karras"
    assert by_tool["ComfyUI"]["param.sigma_schedule"] == "karras"
    assert by_tool["none"]["recipe_id"] == "no-settings"
    assert by_tool["none"]["source"].startswith("<img")
    assert by_tool["ComfyUI"]["seed"] == 1071208483241017
    for row in table:
        assert (home / "studies" / "old-work" / row["png"]).is_file()
        assert row["technical.defects@1"] is not None
    record = json.loads((home / "studies" / "old-work" / "study.json").read_text())
    assert (record["kind"], record["state"], record["paired"]) == ("import", "imported", False)
    assert record["objective"] == "technical.defects@1"
    assert record["higher_is_better"]["technical.defects@1"] is False


def test_the_same_again_changes_nothing_and_new_files_are_added(
    folder: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    import_folder(folder, home)
    table = (home / "studies" / "old-work" / "images.parquet").read_bytes()
    again = import_folder(folder, home)

    assert (again.new, again.images, again.same) == (0, 6, 1)
    assert (home / "studies" / "old-work" / "images.parquet").read_bytes() == table

    (folder / "new.png").write_bytes(lay.png({}, 77))
    os.utime(folder / "a.png", (1, 1))  # touched, the same content
    more = import_folder(folder, home)

    assert (more.new, more.images) == (1, 7)


def test_a_stopped_import_goes_on(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_folder(folder, home, on_progress=stop)
    part = len(rows(home, "old-work"))
    with (home / "studies" / "old-work" / "imported.jsonl").open("ab") as ledger:
        ledger.write(b'{"kept": {"key": "torn')
    rest = import_folder(folder, home)

    assert 0 < part < 6
    assert (rest.new, rest.images) == (6 - part, 6)
    assert all(row["technical.defects@1"] is not None for row in rows(home, "old-work"))


def test_hard_links_share_the_files(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    import_folder(folder, home, name="linked", link=True)

    kept = {(home / "studies/linked" / row["png"]).stat().st_ino for row in rows(home, "linked")}
    assert (folder / "e.png").stat().st_ino in kept


def test_the_same_prompts_and_seeds_under_every_setting_are_paired(tmp_path: Path) -> None:
    place = tmp_path / "grid"
    place.mkdir()
    for shade, (cfg, seed) in enumerate((c, s) for c in (3.0, 7.0) for s in (1, 2, 3)):
        graph = lay.as_text(lay.comfy(seed, cfg, "normal"))
        (place / f"{shade}.png").write_bytes(lay.png({"prompt": graph}, shade))
    done = import_folder(place, tmp_path / "home")

    assert done.paired
    assert (done.recipes, done.prompts) == (2, 1)
    (place / "5.png").unlink()
    assert not import_folder(place, tmp_path / "other").paired


def test_evidence_of_an_import_says_what_it_cannot_show(folder: Path, tmp_path: Path) -> None:
    from teststrip.evidence.analysis import analyse
    from teststrip.wire.bench import Bench, report_files

    home = tmp_path / "home"
    import_folder(folder, home)
    found = table_of("old-work", home)
    files = report_files(analyse(found.table, found.facts, found.votes), found.read_png).files

    assert len(found.table) == 4  # of A1111's two one is the other's prompt, seed and settings
    assert (
        "common" in files["report.html"].decode() or "same prompts" in files["report.md"].decode()
    )
    assert Bench(home, track=False).report("old-work").brief


def test_images_without_settings_can_be_kept_but_not_compared(tmp_path: Path) -> None:
    place = tmp_path / "plain"
    place.mkdir()
    for shade in range(3):
        (place / f"{shade}.png").write_bytes(lay.png({}, shade))
    assert import_folder(place, tmp_path / "home").images == 3

    with pytest.raises(StudyError, match="none of its 3 images says both"):
        table_of("plain", tmp_path / "home")


def test_wrong_use_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        import_folder(tmp_path / "nowhere", tmp_path, name="../up")
    assert len(told.value.faults) == 2

    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match="nothing was imported"):
        import_folder(tmp_path / "empty", tmp_path / "home")
    assert not (tmp_path / "home").exists()

    run = tmp_path / "home" / "studies" / "demo"
    run.mkdir(parents=True)
    (run / "study.json").write_text('{"config": {}, "state": "finished"}')
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "a.png").write_bytes(lay.png({}))
    with pytest.raises(StudyError, match="was run"):
        import_folder(tmp_path / "demo", tmp_path / "home")


def test_the_command_says_what_was_read_and_lists_the_study(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    assert main(["image", "import", str(folder), "--name", "mine"]) == 0
    said = capsys.readouterr().out
    assert "6 images (6 new)" in said
    assert "2  A1111" in said
    assert "1  no settings found" in said
    assert "unpaired" in said

    assert main(["image", "import", str(folder), "--name", "mine", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["new"] == 0
    assert told["read_by"]["SwarmUI"] == 1
    assert main(["study", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main(["study", "report", "mine"]) == 0


@pytest.mark.parametrize(
    "verb", [["resume"], ["confirm"], ["export"], ["promote", "--model-name", "x"]]
)
def test_an_import_cannot_be_run_or_promoted_and_says_so(
    verb: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("TESTSTRIP_HOME", "home")
    import_folder(folder, Path("home"), scores=["none"])

    assert main(["study", verb[0], "old-work", *verb[1:]]) == 1
    assert "is an import of images made elsewhere" in capsys.readouterr().err


def test_the_studio_shows_filters_and_rates_an_import(folder: Path, tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from teststrip.studio.app import create_app
    from teststrip.wire.studio import opened

    home = tmp_path / "home"
    import_folder(folder, home, name="mine")
    with opened(home) as parts, TestClient(create_app(parts), base_url="http://127.0.0.1") as ask:
        entry = parts.index.entry("mine")
        assert (entry.kind, entry.state, entry.images, entry.paired) == (
            *("import", "imported", 6),
            False,
        )
        assert "ComfyUI" in entry.tags
        assert "recipe.steps" in [setting.field for setting in entry.settings]
        assert entry.higher_is_better is False
        for row in rows(home, "mine"):
            picture = ask.get(f"/images/mine/{row['image_key']}.png")
            assert picture.headers["content-type"].startswith("image/")
            assert picture.content == (home / "studies/mine" / row["png"]).read_bytes()
            small = ask.get(f"/thumbs/96/mine/{row['image_key']}.webp")
            assert small.headers["content-type"] == "image/webp"
        for page in ("/wall", "/findings", "/rate"):
            answer = ask.get(page, params={"study": "mine"}, headers={"Accept": "text/html"})
            assert answer.status_code == 200, page
            assert "<img src=x" not in answer.text
        assert ask.get(f"/playground?study=mine&i={rows(home, 'mine')[0]['image_key']}").is_success
