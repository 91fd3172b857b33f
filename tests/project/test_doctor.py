"""The doctor of projects, on real projects with real git, DVC and an S3 server."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from teststrip.errors import ConfigError
from teststrip.project.doctor import Finding, Report, examine
from teststrip.project.doctor.examine import CHECKS
from teststrip.project.doctor.visit import Visit
from teststrip.project.layout import STAGES
from teststrip.testing.commands import Commands
from teststrip.testing.s3_server import S3Server
from teststrip.testing.small_project import change, small_project

pytest.importorskip("dvc")


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project, committed."""
    folder = small_project(tmp_path_factory.mktemp("subject") / "subject")
    Commands(folder).begin()
    return folder


@pytest.fixture
def here(subject: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """A copy of it; the doctor sees the same variables as the commands there."""
    commands = Commands(shutil.copytree(subject, tmp_path / "subject", symlinks=True))
    for name in [n for n in os.environ if n.startswith(("AWS_", "GIT_", "DVC_", "TESTSTRIP_"))]:
        monkeypatch.delenv(name)
    for name, value in commands.env.items():
        monkeypatch.setenv(name, value)
    return commands


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def look(folder: Path, name: str) -> Finding:
    """One check alone, which is quicker than all."""
    return next(check.look(Visit(folder)) for check in CHECKS if check.name == name)


def configure(here: Commands, key: str, value: str) -> None:
    """As `dvc remote modify storage KEY VALUE`, without a second for DVC to start."""
    path = here.folder / ".dvc/config"
    lines = [ln for ln in path.read_text().splitlines() if ln.split("=")[0].strip() != key]
    path.write_text("\n".join((*lines, f"    {key} = {value}", "")))


@pytest.mark.parametrize("kind", sorted(STAGES))
@pytest.mark.parametrize("ci", ["gitlab", "github"])
def test_a_new_project_of_every_kind_is_well(
    tmp_path: Path, kind: str, ci: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teststrip.project.init import init

    folder = tmp_path / "new"
    init(folder, kind=kind, ci=ci, remote="s3://results/new", endpoint="")
    commands = Commands(folder)
    commands.begin()
    for name, value in commands.env.items():
        monkeypatch.setenv(name, value)

    report = examine(folder, offline=True)

    assert report.ok, str(report)
    assert {f.name for f in report.findings if f.status == "warn"} == {"state"}, str(report)
    assert report["pipeline"].status == report["committed"].status == "pass"
    assert report["remote"].found == "storage: s3://results/new"
    assert not commands.git("status", "--porcelain"), "the doctor changed something"


def test_the_verb_prints_what_to_mend_and_exits_with_1(here: Commands) -> None:
    change(here.folder, "train.steps=many", "infer.number_images=0")
    answer = here.teststrip("project", "doctor", "--offline", "--json")
    text = here.teststrip("project", "doctor", "--offline").out

    told = {check["name"]: check for check in json.loads(answer.out)["checks"]}
    assert answer.code == 1
    assert told["params"]["status"] == "fail"
    assert [fault.partition(":")[0] for fault in told["params"]["faults"]] == [
        "train.steps",
        "infer.number_images",
    ]
    assert "many" in text
    assert "FAIL  params" in text
    assert "Traceback" not in answer.said + text


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="project init DIR"):
        examine(tmp_path)


def test_without_git_the_rest_is_still_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_project(tmp_path / "subject")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))

    report = examine(folder, offline=True)

    assert "git init" in report["git"].mend
    assert report["committed"].status == "skip"
    assert report["params"].status == report["pipeline"].status == "pass"


def test_a_dirty_project_is_named_and_no_failure(here: Commands) -> None:
    change(here.folder, "train.steps=5")
    (here.folder / "straße notes.txt").write_text("x")

    finding = look(here.folder, "committed")

    assert finding.status == "warn"
    assert finding.found == "2 not committed: M params.yaml, ?? straße notes.txt"


def test_a_renamed_file_is_one_change(here: Commands) -> None:
    here.git("mv", "requirements.txt", "needs.txt")

    found = look(here.folder, "committed").found

    assert found == "1 not committed: R needs.txt"


def test_no_name_for_commits_is_said(here: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GIT_COMMITTER_EMAIL")

    assert "user.email" in look(here.folder, "identity").found


def test_a_dependency_that_nobody_makes_is_found_with_the_name_that_was_meant(
    here: Commands,
) -> None:
    pipeline = yaml.safe_load((here.folder / "dvc.yaml").read_text())
    deps = pipeline["stages"]["select"]["deps"]
    deps[deps.index("model")] = "models"
    (here.folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline))

    finding = look(here.folder, "pipeline")

    assert finding.status == "fail"
    assert finding.faults == (
        "stage select reads models, which is not there and no stage makes; stage train makes model",
        "stage select reads model, but deps do not say so",
    )


def test_every_fault_of_the_pipeline_is_named(here: Commands) -> None:
    path = here.folder / "dvc.yaml"
    pipeline = yaml.safe_load(path.read_text())
    stages = pipeline["stages"]
    del stages["report"]
    stages["train"]["cmd"] = "sh scripts/train.sh"
    stages["train"]["params"] = ["train.steps"]
    stages["prepare"]["outs"].append("model")
    stages["infer"]["metrics"] = ["metrics/infer.json"]
    stages["infer"]["outs"] = [{"images": {"cache": False}}, {"locks/infer.json": {"cache": False}}]
    path.write_text(yaml.safe_dump(pipeline))

    faults = look(here.folder, "pipeline").faults

    assert sorted(faults) == sorted(
        (
            "stages prepare and train both write model",
            "stage train: its cmd is not `teststrip project run train`",
            "stage train reads train of params.yaml, but params do not say so",
            "stage infer: images has `cache: false`, so DVC does not keep it",
            "stage infer: metrics/infer.json needs `cache: false`: git keeps it, and a report "
            "reads it at any revision",
            "stage report is missing",
        )
    )


@pytest.mark.parametrize(
    "text", ["", "stages: 7", "stages:\n  a: [", "- 1", "stages: {train: [1]}", "\x00"]
)
def test_a_broken_pipeline_is_a_finding(here: Commands, text: str) -> None:
    (here.folder / "dvc.yaml").write_text(text)

    report = examine(here.folder, offline=True)

    assert report["pipeline"].status == "fail"
    assert report["state"].status == "skip"


def test_damaged_and_missing_pictures_are_named(here: Commands) -> None:
    pictures = sorted((here.folder / "data/images").glob("*.png"))
    for path in pictures[:2]:
        path.chmod(0o644)
    pictures[0].write_bytes(pictures[0].read_bytes()[:200])
    pictures[1].write_text("no picture")

    finding = look(here.folder, "pictures")

    assert finding.status == "fail"
    assert [fault.partition(":")[0] for fault in finding.faults] == [
        f"data/images/{path.name}" for path in pictures[:2]
    ]

    for path in pictures:
        path.unlink()
    gone = look(here.folder, "pictures")
    assert gone.status == "fail"
    assert gone.mend.startswith("dvc pull")
    # A commit hook and a job without the remote's keys see no pictures, and there is no fault.
    assert examine(here.folder, offline=True)["pictures"].status == "warn"


def test_pictures_that_dvc_does_not_keep_fail(here: Commands) -> None:
    (here.folder / "data/images.dvc").unlink()

    assert "dvc add data/images" in look(here.folder, "pictures").mend


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (b"\xff\xfe\xfa", "fail", "cannot be read"),
        (b"\n# nothing\n", "fail", "empty"),
        (b"a fox\na fox\na cat\n", "fail", "twice"),
        (b"a zwx alien on a black background\na fox\n", "warn", "used for choosing"),
        (b"a fox\n", "warn", "only 1"),
    ],
)
def test_prompts_that_show_nothing_are_said(
    here: Commands, text: bytes, status: str, words: str
) -> None:
    (here.folder / "data/prompts.txt").write_bytes(text)

    finding = look(here.folder, "prompts")

    assert finding.status == status
    assert words in finding.found


# Put together here, so that no scanner takes this file for a leak.
LEAKS = {
    "a GitLab token": "TOKEN: glpat" + "-" + "aB3" * 7,
    "a runner's token": "runnerToken: glrt" + "-" + "t1_" + "x9" * 10,
    "a GitHub token": "ghp" + "_" + "aB3d" * 9,
    "an AWS access key": "AKIA" + "ABCDEFGH12345678",
    "an S3 secret key": "AWS_SECRET_ACCESS_KEY: " + "wJal/rXU" * 5,
    "a Hugging Face token": "token = hf" + "_" + "aBcDeF" * 6,
    "a private key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "a password in an address": "url: https://user:" + "hunter22" + "@s3.example.org/x",
}


@pytest.mark.parametrize("what", sorted(LEAKS))
def test_a_secret_in_git_is_found_and_not_shown(here: Commands, what: str) -> None:
    (here.folder / "notes.md").write_text(f"# Notes\n{LEAKS[what]}\n")
    here.commit("Notes")

    finding = look(here.folder, "secrets")

    assert finding.status == "fail"
    assert all(f.startswith("notes.md, line 2: ") for f in finding.faults)
    assert LEAKS[what].split(": ")[-1] not in str(Report("", (finding,))) + repr(finding)


def test_keys_in_dvcs_open_configuration_are_found(here: Commands) -> None:
    secret = "short-secret"
    configure(here, "secret_access_key", secret)

    finding = look(here.folder, "secrets")

    assert finding.status == "fail"
    assert "secret_access_key of a DVC remote" in finding.faults[0]
    assert secret not in repr(finding)


def test_the_same_key_in_the_local_configuration_is_well(here: Commands) -> None:
    here.dvc("remote", "modify", "--local", "storage", "secret_access_key", "short-secret")

    assert look(here.folder, "secrets").status == look(here.folder, "committed").status == "pass"


@pytest.mark.parametrize(
    "line",
    [
        "AWS_SECRET_ACCESS_KEY=$SECRET",
        "export AWS_SECRET_ACCESS_KEY='...'",
        "token: ${{ secrets.GITHUB_TOKEN }}",
        "https://user:$PASSWORD@host/",
        "s3://bucket/with:colon/and@sign",
    ],
)
def test_a_place_for_a_secret_is_no_secret(here: Commands, line: str) -> None:
    (here.folder / "notes.md").write_text(line)
    here.commit("Notes")

    assert look(here.folder, "secrets").status == "pass"


def test_results_and_runs_in_git_are_found(here: Commands) -> None:
    (here.folder / "model").mkdir()
    for name in ("model/weights.bin", "work.txt"):
        (here.folder / name).write_text("x")
    (here.folder / "work").mkdir()
    (here.folder / "work/run.json").write_text("{}")
    here.git("add", "--force", "model", "work")

    finding = look(here.folder, "kept")

    assert finding.status == "fail"
    assert [fault.partition(" ")[0] for fault in finding.faults] == ["model", "work"]
    assert finding.mend == "git rm -r --cached model work && git commit"


def test_work_that_git_does_not_ignore_is_said(here: Commands) -> None:
    (here.folder / ".gitignore").write_text("/model\n")

    finding = look(here.folder, "kept")

    assert finding.status == "warn"
    assert "work" in finding.found


def test_a_large_file_in_git_is_said(here: Commands) -> None:
    (here.folder / "weights.bin").write_bytes(os.urandom(5_100_000))
    here.commit("Weights")

    finding = look(here.folder, "large")

    assert finding.status == "warn"
    assert finding.faults == ("weights.bin (5 MB)",)


def test_no_remote_is_said_and_no_failure(here: Commands) -> None:
    here.dvc("remote", "remove", "storage")

    report = examine(here.folder)

    assert report["remote"].status == "warn"
    assert "dvc remote add" in report["remote"].mend
    assert report["login"].status == report["write"].status == "skip"


def test_a_configuration_that_dvc_refuses_is_a_finding(here: Commands) -> None:
    (here.folder / ".dvc/config").write_text("[core\nremote = storage\n")

    report = examine(here.folder)

    assert report["remote"].status == "fail"
    assert "Traceback" not in str(report)


def test_a_remote_over_an_open_network_is_said(here: Commands) -> None:
    configure(here, "endpointurl", "http://s3.example.org")

    assert "unencrypted" in look(here.folder, "remote").found


def test_a_remote_that_works_passes_and_is_left_as_it_was(
    here: Commands, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(here, "endpointurl", s3.address)
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    before = s3.keys()

    report = examine(here.folder)

    for name in ("login", "write", "strangers"):
        assert report[name].status == "pass", str(report)
    assert report["pushed"].status == "warn"
    assert report["pushed"].mend == "dvc push"
    assert s3.keys() == before
    assert s3.secret_key not in str(report) + json.dumps(report.as_dict())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "the secret key is wrong"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "the access key is not known there"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no log-in is known here"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "no log-in is known here"),
    ],
)
def test_a_wrong_log_in_is_named(
    here: Commands,
    s3: S3Server,
    settings: dict[str, str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(here, "endpointurl", s3.address)
    for name, value in (s3.env | settings).items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name, raising=False)

    finding = look(here.folder, "login")

    assert finding.status == "fail"
    assert words in finding.found
    assert "AWS_ACCESS_KEY_ID" in finding.mend


def test_a_bucket_that_is_not_there_and_a_server_that_is_down_are_told_apart(
    here: Commands, s3: S3Server, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    configure(here, "url", "s3://nowhere")
    configure(here, "endpointurl", s3.address)
    no_bucket = look(here.folder, "login")
    configure(here, "endpointurl", f"http://127.0.0.1:{unused_port}")
    down = look(here.folder, "login")

    assert "no such bucket" in no_bucket.found
    assert "does not answer" in down.found
    assert (no_bucket.status, down.status) == ("fail", "fail")


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
