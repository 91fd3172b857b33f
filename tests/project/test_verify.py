"""`project verify`: a stage run again from its inputs alone gives the same bytes, or it is said."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from teststrip.cli.main import main
from teststrip.project.record import Record, file_sha256
from teststrip.testing.small_project import change, small_project
from teststrip.wire.project_run import run_stages
from teststrip.wire.project_verify import verify

RECORD = "locks/prepare.json"


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's settings; one thread, for several tests share the cores."""
    monkeypatch.delenv("TESTSTRIP_HOME", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose first stage was run."""
    root = tmp_path_factory.mktemp("prepared")
    (root / "data/images").mkdir(parents=True)
    for name, color in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (48, 40), color).save(root / f"data/images/{name}.png")
    params = {
        "kind": "dreambooth",
        "prepare": {"size": 32},
        "train": {"instance_prompt": "a zwx alien"},
        "infer": {"prompt": "a zwx alien"},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TESTSTRIP_HOME", raising=False)
        run_stages(root, ["prepare"])
    return root


@pytest.fixture
def root(prepared: Path, tmp_path: Path) -> Path:
    """A copy of it elsewhere."""
    return shutil.copytree(prepared, tmp_path / "elsewhere")


def rewrite(root: Path, **facts: Any) -> None:
    """Change a record as its owner would not."""
    path = root / RECORD
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def files(root: Path) -> dict[str, bytes]:
    found = (p for p in root.rglob("*") if p.is_file() and "work" not in p.parts)
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in found}


def test_the_same_bytes_come_out_elsewhere_and_nothing_changes_here(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(root)

    code = main(["project", "verify", "prepare", "--quiet", "--project", str(root)])

    said = capsys.readouterr().out
    assert code == 0, said
    assert "prepare: run again, every byte the same: 3 files" in said
    assert said.endswith("verified\n")
    assert files(root) == before
    assert [p.name for p in (root / "work").iterdir()] == ["lock"]


def test_quick_looks_at_hashes_alone_and_says_so(root: Path) -> None:
    found = verify(root, ["prepare"], quick=True)

    assert found.ok
    assert "3 files as its lock record says; not run again" in str(found)
    assert found.as_dict()["stages"][0]["how"] == "hashes"


def test_every_file_that_is_not_as_recorded_is_named_with_what_to_do(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "data/prepared/a.png").write_bytes(b"other")
    (root / "data/prepared/b.png").unlink()
    (root / "data/prepared/c.png").write_bytes(b"more")
    Image.new("RGB", (48, 40), "green").save(root / "data/images/a.png")
    change(root, "prepare.size=64")

    code = main(["project", "verify", "prepare", "--quiet", "--json", "--project", str(root)])

    [stage] = json.loads(capsys.readouterr().out)["stages"]
    assert code == 1
    assert stage["how"] == "hashes"  # and nothing was run
    assert [fault.partition(";")[0] for fault in stage["faults"]] == [
        "params.yaml: prepare.size is 64, was 32",
        "data/images/a.png: prepare read another one",
        "data/prepared/a.png: not what prepare made",
        "data/prepared/b.png: not there",
        "data/prepared/c.png: in no lock record",
    ]
    assert "dvc checkout" in stage["faults"][2]
    assert "dvc pull" in stage["faults"][3]


def test_an_output_that_its_inputs_do_not_give_is_found_out(root: Path) -> None:
    """Whoever changes an output and its record together is still told: it cannot be made again."""
    path = root / "data/prepared/a.png"
    picture = Image.open(path).convert("RGB")
    picture.putpixel((3, 3), (0, 0, 0))
    picture.save(path)
    outputs = Record.read(root / RECORD).outputs
    rewrite(root, outputs=outputs | {"data/prepared/a.png": file_sha256(path)})

    found = verify(root, ["prepare"])

    assert not found.ok
    assert found.stages[0].how == "bytes"
    [fault] = found.stages[0].faults
    assert fault.startswith("data/prepared/a.png: pixels differ by at most 255 of 255")
    assert str(found).endswith(f"not verified: {fault}")


def test_another_machine_gets_the_tolerance_and_is_told_why(root: Path) -> None:
    path = root / "data/prepared/a.png"
    picture = Image.open(path).convert("RGB")
    picture.putpixel((3, 3), (250, 1, 1))
    picture.save(path)
    was = Record.read(root / RECORD)
    rewrite(
        root,
        outputs=was.outputs | {"data/prepared/a.png": file_sha256(path)},
        environment=was.environment | {"cpu": "Z80"},
    )

    found = verify(root, ["prepare"])

    assert found.ok, str(found)
    assert found.stages[0].how == "tolerance"
    assert found.stages[0].why[0].startswith("cpu Z80, now ")
    assert "run again, 2 of 3 files the same, the others within the tolerance" in str(found)
    assert "PSNR" in found.stages[0].apart[0]


def test_a_stage_that_cannot_be_run_from_its_inputs_says_what_it_said(root: Path) -> None:
    broken = root / "data/images/a.png"
    broken.write_bytes(b"no picture")
    was = Record.read(root / RECORD)
    rewrite(root, inputs=was.inputs | {"data/images/a.png": file_sha256(broken)})

    found = verify(root, ["prepare"])

    assert not found.ok
    assert "prepare: cannot be run again" in str(found)
    assert "a.png" in found.stages[0].faults[0]


def test_a_stage_that_was_never_run_is_said_to_be(root: Path) -> None:
    found = verify(root, ["prepare", "train"], quick=True)

    assert not found.ok
    assert found.stages[1].faults == (
        "locks/train.json: not there; run the stage: dvc repro, or teststrip project run train",
    )


@pytest.mark.slow
@pytest.mark.timeout(3000)  # it runs all stages twice
def test_a_whole_project_comes_out_byte_for_byte_in_another_folder(tmp_path: Path) -> None:
    root = small_project(tmp_path / "subject")
    ran = run_stages(root, [])
    moved = root.rename(tmp_path / "moved")
    shutil.rmtree(moved / "work")  # a clone has none

    assert [run.stage for run in ran.ran] == ["prepare", "train", "select", "infer", "report"]
    assert run_stages(moved, []).ran == ()
    found = verify(moved, [])

    assert found.ok, str(found)
    assert {stage.how for stage in found.stages} == {"bytes"}, str(found)
