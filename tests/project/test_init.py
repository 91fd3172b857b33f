"""A new project: what lies in it, that its parts agree, and what init refuses."""

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from teststrip.errors import ConfigError, StorageError
from teststrip.project import init as room
from teststrip.project.init import fill, init, yaml_word
from teststrip.project.layout import STAGES
from teststrip.project.params import Params
from teststrip.project.project import Project
from teststrip.testing.commands import Commands
from teststrip.wire.stages.study import config_of
from teststrip.wire.stages.train_config import check

KINDS = tuple(STAGES)
TUNED = ("dreambooth", "lora")
REPOSITORY = Path(__file__).parents[2]
TEMPLATE = REPOSITORY / "src/teststrip/project/template"


def new(folder: Path, kind: str = "dreambooth", **given: str) -> Path:
    """A project made by init."""
    options = {"ci": "gitlab", "remote": "s3://bucket/team", **given}
    init(folder, kind=kind, **options)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def project(request, tmp_path_factory) -> tuple[str, Path]:
    return request.param, new(tmp_path_factory.mktemp("new") / "my project", request.param)


def test_parameters_are_whole_and_every_section_has_a_line(project):
    kind, root = project
    params = Params.read(root / "params.yaml")
    assert params.kind == kind
    given = yaml.safe_load((root / "params.yaml").read_text())
    read = {section for stage in STAGES[kind] for section in stage.sections}
    assert {section for section in read if "." not in section} == set(given) - {"kind"}
    for section in read:
        first, _, key = section.partition(".")
        assert not key or key in given[first], "DVC wants a key that a stage names in params.yaml"


def test_stages_take_the_parameters(project):
    kind, root = project
    found = Project.open(root)
    if kind == "study":
        config = config_of(found)
        assert config.baseline_recipe.recipe_id not in (None, "")
        assert len(config.held_out_blocks(1)) >= 4
    else:
        check(found.params)
        assert (
            len(found.params.train.settings["validation"]["prompts"]) >= 12
        )  # 8 search, 4 confirm


def test_the_pipeline_is_the_layouts(project):
    kind, root = project
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    assert list(stages) == [stage.name for stage in STAGES[kind]]
    for stage in STAGES[kind]:
        said = stages[stage.name]
        assert said["cmd"] == f"teststrip project run {stage.name}"
        assert [str(section) for section in said["params"]] == list(stage.sections)
        assert set(said["deps"]) - {"requirements.txt"} == set(stage.inputs)
        small = {}
        for part in ("outs", "metrics", "plots"):
            for entry in said.get(part, ()):
                name, options = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
                small[name] = options.get("cache", True) is False
        assert {name for name, notes in small.items() if not notes} == set(stage.outputs)
        assert {name for name, notes in small.items() if notes} == {*stage.notes, stage.lock}
    for name in ("train", "infer", "study"):
        if name in stages:
            assert "requirements.txt" in stages[name]["deps"]


def test_every_input_is_there_or_made_by_an_earlier_stage(project):
    kind, root = project
    made: set[str] = set()
    for stage in STAGES[kind]:
        for name in stage.inputs:
            assert name in made or (root / name).exists(), f"{stage.name} reads {name}"
        made |= set(stage.written)


def test_results_are_scored_on_prompts_that_nothing_else_uses(project):
    kind, root = project
    checked = (root / "data/prompts.txt").read_text().splitlines()
    assert len(set(checked)) == len(checked) >= 12
    params = Params.read(root / "params.yaml")
    if kind == "study":
        used = (root / "data/study-prompts.txt").read_text().splitlines()
        used = [line.partition("\t")[0] for line in used]
    else:
        used = params.train.settings["validation"]["prompts"]
    assert len(used) >= 12
    assert not set(checked) & {*used, params.infer.prompt}


def test_no_placeholder_is_left_and_no_secret_has_a_place_in_git(project):
    _, root = project
    for path in root.rglob("*"):
        if path.is_file() and path.suffix != ".png" and "cache" not in path.parts:
            text = path.read_text()
            for word in ("NAME", "KIND", "VERSION", "MODEL", "REMOTE", "ENDPOINT"):
                assert f"@{word}@" not in text, path
    config = (root / ".dvc/config").read_text()
    assert "url = s3://bucket/team\n" in config
    assert "endpointurl" not in config
    assert "secret_access_key =" not in config
    assert "my project" in (root / "README.md").read_text().splitlines()[0]


def test_git_and_dvc_take_it_as_it_is(project, tmp_path):
    kind, root = project
    at = Commands(root, home=tmp_path / "home")
    at.begin()
    results = [name for stage in STAGES[kind] for name in stage.outputs]
    ignored = [
        *results,
        "work/runs",
        "data/images",
        ".dvc/config.local",
        ".dvc/cache",
        "comparison",
    ]
    ignored = [name for name in ignored if kind != "study" or name != "data/images"]
    for name in ignored:
        at.git("check-ignore", "--quiet", name)
    for stage in STAGES[kind]:
        for note in (*stage.notes, stage.lock):
            assert at.run("git", "check-ignore", "--quiet", note).code == 1, note
    order = at.dvc("stage", "list", "--name-only").split()
    assert order == [stage.name for stage in STAGES[kind]]
    assert at.git("status", "--porcelain") == ""


@pytest.mark.parametrize("kind", TUNED)
def test_pictures_are_under_dvc_as_dvc_itself_would_put_them(kind, tmp_path):
    root = new(tmp_path / "new", kind)
    at = Commands(root)
    at.begin()
    assert "up to date" in at.dvc("status", "data/images.dvc")
    written = (root / "data/images.dvc").read_text()
    kept = sorted(path for path in (root / ".dvc/cache").rglob("*") if path.is_file())
    assert len(kept) == len(list((root / "data/images").iterdir())) + 1
    at.dvc("add", "data/images")
    assert (root / "data/images.dvc").read_text() == written
    assert sorted(path for path in (root / ".dvc/cache").rglob("*") if path.is_file()) == kept
    assert at.git("status", "--porcelain") == ""


def test_sample_pictures_are_those_that_the_script_draws():
    script = REPOSITORY / "examples/project/draw_samples.py"
    spec = importlib.util.spec_from_file_location("draw_samples", script)
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    poses = draw.draw_subject.poses()
    for number in (0, 1, 2):
        there = Image.open(TEMPLATE / f"dreambooth/data/images/monster-{number:02}.png")
        drawn = draw.monster(poses[number], draw.SHAPES[number])
        apart = np.asarray(there.convert("RGB"), int) - np.asarray(drawn.convert("RGB"), int)
        assert there.size == draw.SHAPES[number]
        assert np.abs(apart).max() <= 1
    rows = (TEMPLATE / "lora/data/images/metadata.jsonl").read_text().splitlines()
    named = {json.loads(row)["file_name"] for row in rows}
    assert named == {path.name for path in (TEMPLATE / "lora/data/images").glob("*.png")}
    assert sum(path.stat().st_size for path in TEMPLATE.rglob("*.png")) < 600_000


def test_every_fault_is_told_at_once_and_nothing_is_made(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(ConfigError) as caught:
        init(
            tmp_path / "full",
            kind="controlnet",
            ci="jenkins",
            model="./nowhere",
            remote="s3://AKIAKEY:hunter2@bucket",
            endpoint="ftp://user:hunter2@host",
        )
    starts = [fault.partition(":")[0] for fault in caught.value.faults]
    assert starts == ["folder", "kind", "ci", "model", "remote", "endpoint"]
    assert "hunter2" not in str(caught.value)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"remote": "https://bucket"}, "give s3://BUCKET"),
        ({"remote": "s3://"}, "no name of a bucket"),
        ({"remote": "s3://Big_Bucket"}, "no name of a bucket"),
        ({"remote": "s3://bucket/a b"}, "more than a bucket and a folder"),
        ({"remote": "s3://bucket\nurl = s3://other"}, "more than a bucket|no name of a bucket"),
        ({"remote": "s3://bucket?x=1"}, "more than a bucket"),
        ({"endpoint": "minio:9000"}, "give https://HOST"),
        ({"endpoint": "http://host:99999"}, "give https://HOST"),
        ({"endpoint": "https://host/\n[core]"}, "more than an address"),
        ({"model": " "}, "is no name"),
        ({"model": "a\nkind: lora"}, "is no name"),
    ],
)
def test_an_address_or_a_model_that_is_none_is_refused(tmp_path, given, said):
    with pytest.raises(ConfigError, match=said) as caught:
        new(tmp_path / "new", **given)
    assert len(caught.value.faults) == 1
    assert not (tmp_path / "new").exists()


def test_an_endpoint_is_written_and_one_without_encryption_is_spoken_of(tmp_path):
    made = init(
        tmp_path / "a",
        kind="study",
        ci="github",
        remote="s3://bucket/",
        endpoint="http://minio.example.org:9000",
    )
    assert any("not encrypted" in remark for remark in made.remarks)
    config = (tmp_path / "a/.dvc/config").read_text()
    assert config.endswith("url = s3://bucket\n    endpointurl = http://minio.example.org:9000\n")
    near = init(
        tmp_path / "b",
        kind="study",
        ci="github",
        remote="s3://bucket",
        endpoint="http://127.0.0.1:9000",
    )
    assert near.remarks == ()


@pytest.mark.parametrize("model", ["builtin", "org/model-1.5", "null", "123", "a: b # c", "läufer"])
def test_another_model_is_one_line_read_back_as_it_was_given(tmp_path, model):
    root = new(tmp_path / "new", "lora", model=model)
    assert Params.read(root / "params.yaml").train.model_name == model
    lines = [
        text for text in (root / "params.yaml").read_text().splitlines() if yaml_word(model) in text
    ]
    assert f"  model_name: {yaml_word(model)}" in lines


def test_a_model_in_a_folder_is_written_by_its_whole_path(tmp_path, monkeypatch):
    (tmp_path / "models/mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    root = new(tmp_path / "new", "study", model="models/mine")
    study = Params.read(root / "params.yaml").study
    assert study["recipe"]["model"] == str(tmp_path / "models/mine")


def test_a_folder_with_a_bare_git_repository_counts_as_empty(tmp_path):
    (tmp_path / "new").mkdir()
    at = Commands(tmp_path / "new", home=tmp_path / "home")
    at.git("init", "--quiet")
    made = init(tmp_path / "new", kind="study", ci="gitlab", remote="s3://bucket")
    assert made.next[1].startswith("git add")
    with pytest.raises(ConfigError, match="holds"):
        new(tmp_path / "new", "study")


def test_inside_another_repository_it_is_said_that_ci_looks_at_the_top(tmp_path):
    at = Commands(tmp_path, home=tmp_path / "home")
    at.git("init", "--quiet")
    made = init(tmp_path / "deep/er", kind="study", ci="gitlab", remote="s3://bucket")
    assert any(str(tmp_path) in remark for remark in made.remarks)
    assert made.next[1].startswith("git add")
    assert at.at(tmp_path / "deep/er").dvc("stage", "list", "--name-only").split() == [
        "study",
        "infer",
        "report",
    ]


def test_the_current_folder_needs_no_entering(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = init(Path(), kind="study", ci="gitlab", remote="s3://bucket")
    assert len(made.next) == 2
    assert (tmp_path / "params.yaml").is_file()


def test_a_name_that_no_disk_takes_is_a_fault_in_words(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: File name too long"):
        new(tmp_path / ("x" * 300))


def test_a_file_and_a_broken_link_are_no_folders(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, said in (("file", "is a file"), ("link", "broken link")):
        with pytest.raises(ConfigError, match=said):
            new(tmp_path / name)


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_the_folder_as_it_was(tmp_path, monkeypatch, there):
    def full(*_):
        raise OSError(28, "No space left on device")

    if there:
        (tmp_path / "new").mkdir()
    monkeypatch.setattr(room, "add_folder", full)
    with pytest.raises(StorageError, match="disk is full"):
        new(tmp_path / "new")
    assert (tmp_path / "new").exists() is there
    assert not there or list((tmp_path / "new").iterdir()) == []


def test_without_dvc_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    made = init(tmp_path / "new", kind="dreambooth", ci="gitlab", remote="s3://bucket")
    assert any("pip install -r requirements.txt" in remark for remark in made.remarks)
    assert (tmp_path / "new/data/images.dvc").is_file()


@pytest.mark.parametrize("ci", ["gitlab", "github"])
def test_the_jobs_of_one_ci_are_laid_in(tmp_path, ci):
    new(tmp_path / "new", "study", ci=ci)
    own = TEMPLATE / "ci" / ci
    files = [path.relative_to(own) for path in own.rglob("*") if path.is_file()]
    assert files
    assert all((tmp_path / "new" / name).is_file() for name in files)
    other = tmp_path / "new" / (".github" if ci == "gitlab" else ".gitlab-ci.yml")
    assert not other.exists()


def test_words_between_signs_that_are_not_ours_stay():
    assert fill("mail<HOST>x <NAME> ${{ a }}", {"NAME": "n"}) == "mail<HOST>x n ${{ a }}"


def test_the_command_says_what_it_made_and_what_comes_next(tmp_path):
    at = Commands(tmp_path)
    answer = at.teststrip("project", "init", "a b", "--kind", "study", "--json")
    assert answer.code == 0, answer
    said = json.loads(answer.out)
    assert said["kind"] == "study"
    assert said["next"] == [
        "cd 'a b'",
        'git init && git add . && git commit -m "A new project"',
        "dvc repro",
    ]
    assert sorted(said["files"]) == sorted(
        path.relative_to(tmp_path / "a b").as_posix()
        for path in (tmp_path / "a b").rglob("*")
        if path.is_file()
    )
    again = at.teststrip("project", "init", "a b", "--ci", "travis")
    assert again.code == 2
    assert "2 faults" in again.err
    assert "Traceback" not in again.err


def test_no_file_of_the_template_is_one_that_git_or_the_wheel_leaves_out():
    files = [str(path) for path in TEMPLATE.rglob("*") if path.is_file()]
    said = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        cwd=REPOSITORY,
        input="\n".join(files),
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 1, f"left out: {said.stdout}"


@pytest.mark.deploy
def test_the_wheel_makes_the_same_project(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*build, tmp_path / "dist", REPOSITORY], check=True, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").iterdir()
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    at = Commands(tmp_path, settings={"PYTHONPATH": str(tmp_path / "installed")})
    for ci, kind in (("gitlab", "dreambooth"), ("github", "lora"), ("gitlab", "study")):
        answer = at.teststrip("project", "init", f"wheel/{kind}", "--kind", kind, "--ci", ci)
        assert answer.code == 0, answer
        new(tmp_path / "source" / kind, kind, ci=ci, remote="s3://teststrip-projects")
        made, ours = (
            {
                p.relative_to(top / kind): p.read_bytes()
                for p in (top / kind).rglob("*")
                if p.is_file()
            }
            for top in (tmp_path / "wheel", tmp_path / "source")
        )
        assert made == ours
