"""The report of a change: its verdict, what it says beside it, and what it refuses."""

import json
import os
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.project.reported import (
    CLIP,
    LPIPS,
    PARAMS,
    PROMPTS,
    begin,
    commit,
    write_record,
    write_results,
)
from teststrip.errors import ConfigError, StudyError
from teststrip.evidence.ranking import BETTER, UNCLEAR, WORSE
from teststrip.project.metrics import write_metrics
from teststrip.project.report.content import alone, change
from teststrip.project.report.curves import panels, smooth
from teststrip.project.report.files import files
from teststrip.project.report.results import read
from teststrip.project.report.verdict import NONE
from teststrip.project.revision import at, here
from teststrip.wire.project_report import report

FASTER = PARAMS | {"train": PARAMS["train"] | {"learning_rate": 0.002}}


@pytest.fixture(autouse=True)
def outside_ci(monkeypatch):
    for name in ("GITLAB_CI", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A project with one commit, without curves; tests copy it."""
    root = tmp_path_factory.mktemp("first") / "project"
    write_results(root)
    begin(root)
    return root


@pytest.fixture
def project(first, tmp_path):
    return shutil.copytree(first, tmp_path / "project")


def compared(root, **changes):
    write_results(root, seed=5, **{"params": FASTER} | changes)
    return report(root, "HEAD")


def test_a_gain_is_called_better_with_its_interval_and_n(project):
    found = compared(project, shift=0.03)

    pair = next(one for one in found.content.found if one.score == CLIP)
    assert found.verdict.word == BETTER
    assert found.verdict.headline.startswith("Better: the change gains +0.0")
    assert f"in {CLIP} (95 % interval +0.0" in found.verdict.headline
    assert "8 prompts" in found.verdict.headline
    assert pair.found.gain.low > 0
    assert pair.found.family == 2
    assert "16 pairs of pictures" in found.verdict.detail
    assert found.ok


def test_the_difference_is_that_of_the_prompt_means(project):
    found = compared(project, shift=0.03)

    arms = [read(one).arm("made", "check") for one in (at(project, "HEAD"), here(project))]
    table = [{(p.prompt, p.seed): p.scores[CLIP] for p in arm} for arm in arms]
    by_prompt = [
        np.mean([table[1][b] - table[0][b] for b in table[1] if b[0] == prompt])
        for prompt in PROMPTS
    ]
    gain = found.content.found[0].found.gain
    assert gain.mean == pytest.approx(np.mean(by_prompt), abs=1e-12)
    assert gain.units == len(PROMPTS)


def test_a_loss_is_called_worse_and_is_no_error_of_the_command(project):
    found = compared(project, shift=-0.03)

    assert found.verdict.word == WORSE
    assert found.verdict.headline.startswith("Worse: the change brings −0.0")
    assert found.ok


def test_what_cannot_be_told_says_how_many_prompts_would_settle_it(project):
    found = compared(project, shift=0.003)

    pair = found.content.found[0]
    assert found.verdict.word == UNCLEAR
    assert found.verdict.headline.startswith("Not distinguishable: the change differs by")
    assert f"{pair.needed - 8} more check prompts ({pair.needed} in all)" in found.verdict.detail


def test_more_prompts_as_promised_do_settle_it(project):
    rng = np.random.default_rng(0)
    pair = compared(project, shift=0.004).content.found[0]
    units = rng.normal(0, 1, (2000, pair.needed))
    spread = _spread(project)

    from teststrip.evidence.interval import p_values

    drawn = pair.found.gain.mean + spread * units
    share = float((p_values(drawn) < 0.05 / pair.found.family).mean())

    assert 0.75 < share < 0.87


def _spread(root):
    old, new = (read(one).arm("made", "check") for one in (at(root, "HEAD"), here(root)))
    table = [{(p.prompt, p.seed): p.scores[CLIP] for p in arm} for arm in (old, new)]
    means = [np.mean([table[1][b] - table[0][b] for b in table[1] if b[0] == p]) for p in PROMPTS]
    return float(np.std(means, ddof=1))


def test_a_score_where_less_is_better_gains_by_falling(project):
    found = compared(project)

    pair = next(one for one in found.content.found if one.score == LPIPS)
    assert not pair.higher_is_better
    assert pair.identical


def test_the_same_results_are_said_to_be_the_same(project):
    found = report(project, "HEAD")

    assert found.verdict.headline == (
        f"No difference: the change has the same {CLIP} on every check picture."
    )
    assert found.content.changes == ()


def test_parameters_that_changed_and_stages_that_ran_again_are_named(project):
    write_record(project, "train", FASTER, made="2026-02-02T00:00:00+00:00", outputs={"model": "b"})
    params = (project / "params.yaml").read_text().replace("0.001", "0.002")
    (project / "params.yaml").write_text(params)

    content = report(project, "HEAD").content

    assert [(c.name, c.before, c.after) for c in content.changes] == [
        ("train.learning_rate", "0.001", "0.002")
    ]
    states = {one.stage: one.state for one in content.ran}
    assert states == {
        "prepare": "as before",
        "train": "ran again",
        "select": "as before",
        "infer": "as before",
    }
    train = next(one for one in content.ran if one.stage == "train")
    assert train.why == ("parameters train.learning_rate", "outputs model")
    assert train.after == "2026-02-02 00:00:00 UTC, 1.0 s, cpu, A CPU, Teststrip 0.1.0"


def test_results_of_other_parameters_are_called_stale(project):
    params = (project / "params.yaml").read_text().replace("steps: 40", "steps: 80")
    (project / "params.yaml").write_text(params)

    warnings = " ".join(report(project, "HEAD").content.warnings)

    assert "train ran with other parameters than params.yaml has (train.steps)" in warnings
    assert "dvc repro" in warnings


def test_another_device_and_other_versions_stand_beside_the_verdict(project):
    write_results(project, shift=0.03, seed=5)
    write_record(
        project,
        "infer",
        PARAMS,
        device={"name": "cuda:0", "card": "NVIDIA H100"},
        environment={"cpu": "A CPU", "packages": {"torch": "2.14.0"}},
    )

    warnings = " ".join(report(project, "HEAD").content.warnings)

    assert "infer: another device (cpu, then NVIDIA H100)" in warnings
    assert "torch 2.13.0, then 2.14.0" in warnings


def test_a_refused_selection_is_warned_of(project):
    found = compared(project, refused=True)

    assert any("now" in w and "unproven" in w for w in found.content.warnings)


def test_prompts_that_changed_are_left_out_and_said(project):
    found = compared(project, shift=0.03, prompts=(*PROMPTS[:6], "a new one", "another"))

    assert found.content.found[0].found.prompts == 6
    assert any("4 pictures only in HEAD" in note for note in found.verdict.notes)


def test_without_a_prompt_in_common_there_is_no_verdict(project):
    found = compared(project, prompts=("one", "two", "three"))

    assert found.verdict.word == NONE
    assert "no check picture with the same prompt and seed in common" in found.verdict.headline


def test_one_prompt_in_common_is_no_evidence(project):
    found = compared(project, shift=0.1, prompts=(PROMPTS[0], "two", "three"))

    assert found.verdict.word == NONE
    assert "one check prompt says nothing of others" in found.verdict.headline


def test_a_base_without_results_shows_this_side_alone(tmp_path):
    root = tmp_path / "project"
    write_results(root)
    shutil.rmtree(root / "plots")
    begin(root)
    write_results(root, params=FASTER)

    found = report(root, "main")

    assert found.verdict.headline.startswith("No comparison: main (")
    assert "has no plots/scores.csv" in found.verdict.headline
    assert "the fine-tuned model" in found.content.about or found.content.alone
    assert [c.name for c in found.content.changes] == ["train.learning_rate"]
    assert "contact-sheet.png" in found.files


def test_a_side_without_results_now_says_what_to_do(project):
    shutil.rmtree(project / "plots")

    found = report(project, "HEAD")

    assert "No comparison: now" in found.verdict.headline
    assert "dvc repro" in found.verdict.headline
    assert "contact-sheet.png" not in found.files


def test_another_kind_is_not_compared(project):
    params = (project / "params.yaml").read_text().replace("dreambooth", "lora")
    (project / "params.yaml").write_text(params)

    headline = report(project, "HEAD").verdict.headline

    assert "of kind dreambooth" in headline
    assert "of kind lora" in headline


def test_an_unknown_revision_names_the_branches(project):
    with pytest.raises(ConfigError, match=r"'nowhere' is not in this repository.*main"):
        report(project, "nowhere")


@pytest.mark.parametrize("ref", ["", "--output=/tmp/x", "-x"])
def test_a_revision_is_never_an_option_of_git(project, ref):
    with pytest.raises(ConfigError, match="a branch, a tag"):
        report(project, ref)


def test_no_git_is_said(tmp_path):
    write_results(tmp_path / "project")

    with pytest.raises(StudyError, match="in no git repository; git init"):
        report(tmp_path / "project", "main")


def test_a_repository_without_a_commit_is_said(project):
    shutil.rmtree(project / ".git")
    from teststrip.testing.commands import Commands

    Commands(project).git("init", "-q")
    with pytest.raises(ConfigError, match="no commit yet"):
        report(project, "HEAD")


def test_a_clone_of_the_last_commit_alone_says_how_to_fetch_the_rest(project, tmp_path):
    from teststrip.testing.commands import Commands

    write_results(project, shift=0.01)
    git = commit(Commands(project, home=tmp_path / "home"), "Second")
    git.at(tmp_path).git("clone", "-q", "--depth", "1", f"file://{project}", "shallow")

    with pytest.raises(ConfigError, match=r"GIT_DEPTH: 0; GitHub: fetch-depth: 0"):
        report(tmp_path / "shallow", "HEAD~1")


def test_a_project_inside_a_larger_repository_is_compared(tmp_path):
    root = tmp_path / "all" / "models" / "alien"
    write_results(root)
    begin(tmp_path / "all")
    write_results(root, shift=0.03, seed=5)

    assert report(root, "HEAD").verdict.word == BETTER


def test_a_damaged_table_is_named(project):
    (project / "plots/scores.csv").write_text("arm,set\nmade,check\n")

    with pytest.raises(ConfigError, match=r"plots/scores.csv of now"):
        report(project, "HEAD")


def test_a_picture_outside_the_project_is_refused(project):
    table = (project / "plots/scores.csv").read_text()
    (project / "plots/scores.csv").write_text(table.replace("images/made", "images/../..", 1))

    with pytest.raises(ConfigError, match="not below images/"):
        report(project, "HEAD")


def test_a_link_out_of_the_project_is_not_followed(project, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes((project / "images/made/g-0.png").read_bytes())
    (project / "images/made/g-0.png").unlink()
    (project / "images/made/g-0.png").symlink_to(secret)

    missing = report(project, "HEAD").content.pictures.missing

    assert len(missing) == 1
    assert missing[0].startswith("After: 1 picture missing")


def test_a_score_that_is_not_there_is_refused(project):
    params = (project / "params.yaml").read_text() + "report:\n  score: beauty\n"
    (project / "params.yaml").write_text(params)

    with pytest.raises(ConfigError, match=rf"report.score 'beauty': auto, {CLIP}, {LPIPS} are"):
        report(project, "HEAD")


def test_the_report_of_a_stage_is_not_written_over(project):
    with pytest.raises(ConfigError, match="which DVC keeps"):
        report(project, "HEAD", out=project / "report")


def test_an_earlier_report_is_replaced_and_foreign_files_are_let_be(project, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    (out / "curves.png").write_bytes(b"old")
    found = report(project, "HEAD", out=out)

    assert (out / "mine.txt").read_text() == "mine"
    assert not (out / "curves.png").exists()
    assert set(os.listdir(out)) == {*found.files, "mine.txt"}


def test_one_revision_alone_gives_the_same_bytes_anywhere(project, tmp_path):
    write_results(project, curves=True)
    other = shutil.copytree(project, tmp_path / "elsewhere" / "copy")

    made = [files(alone(read(here(root)), "auto", 0.95)) for root in (project, other)]

    assert made[0] == made[1]
    assert set(made[0]) == {"index.html", "report.md", "contact-sheet.png", "curves.png"}
    assert b"Better: what was learned gains" in made[0]["report.md"]


def test_json_holds_the_numbers(project):
    found = json.loads(json.dumps(compared(project, shift=0.03).as_dict()))

    assert found["verdict"] == BETTER
    assert [one["score"] for one in found["scores"]] == [CLIP, LPIPS]
    assert found["scores"][0]["low"] > 0
    assert found["posted"]["dry"]


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.seen, self.addresses, self.without_alt = set(), [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href")]
        self.without_alt += tag == "img" and not dict(attrs).get("alt")
        assert "style" not in dict(attrs), "the policy allows no style attribute"


def test_what_users_type_has_no_meaning_in_html_or_markdown(tmp_path):
    evil = "<script>alert(1)</script> | [x](javascript:1) @all #1 `x`"
    params = PARAMS | {"infer": PARAMS["infer"] | {"prompt": evil}}
    root = tmp_path / "project"
    write_results(root, params=params, prompts=(evil, *PROMPTS[:3]))
    begin(root)
    train = params["train"] | {"instance_prompt": evil}
    write_results(root, params=params | {"train": train}, prompts=(evil, *PROMPTS[:3]), shift=0.02)

    made = files(change(read(at(root, "HEAD")), read(here(root)), "auto", 0.95))

    page, note = made["index.html"].decode(), made["report.md"].decode()
    tags = Tags(page)
    assert "script" not in tags.seen
    assert tags.without_alt == 0
    assert all(address.startswith("data:") for address in tags.addresses)
    assert "default-src 'none'" in page
    assert "<script" not in note
    assert not re.search(r"[^\\]\]\(javascript", note)
    assert not re.search(r"(?<!&)[@#](?=all|1 )", note.replace("#8203", ""))
    assert "&lt;script&gt;" in page


def test_curves_stand_for_both_sides_and_are_one_line_where_nothing_changed(project):
    write_results(project, curves=True)
    once = panels((("before", read(here(project))), ("after", read(here(project)))))
    write_results(project, curves=True, shift=0.03, params=FASTER)
    first = read(here(project))
    two = panels((("before", replace(first, curves=_moved(first))), ("after", first)))

    assert [panel.title for panel in once] == ["Training loss, smoothed", "Held-out loss", CLIP]
    assert [line.name for line in once[0].lines] == ["before and after, the same"]
    assert [line.name for line in two[1].lines] == ["before", "after"]
    assert [line.kind for line in two[1].lines] == ["old", "now"]
    assert "Held-out loss, after: 0.17 at step 0" in two[1].words


def _moved(results):
    return {k: v if k == "step" else tuple(x + 0.1 for x in v) for k, v in results.curves.items()}


def test_a_smoothed_constant_is_that_constant():
    assert smooth([0.12] * 50, 10) == pytest.approx([0.12] * 50)


def test_a_study_that_confirmed_nothing_is_warned_of(tmp_path):
    params = {"kind": "study", "study": {"seeds": 1}, "infer": PARAMS["infer"]}
    write_results(tmp_path, params=params | {"train": {"steps": 1}})
    write_metrics(tmp_path / "metrics/study.json", {"confirmed": 0, "images": 8})

    content = alone(read(here(tmp_path)), "auto", 0.95)

    assert content.warnings == (
        "the study confirmed no recipe as better than its baseline, which goes on.",
    )
    assert content.names == ("the baseline", "the chosen recipe")
