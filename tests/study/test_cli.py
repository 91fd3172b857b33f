"""`teststrip study`: thin verbs, JSON on demand, and exit codes 0, 1 and 2."""

import json

import pytest
import yaml

from teststrip.cli.main import main


@pytest.fixture
def file(config, tmp_path, monkeypatch):
    monkeypatch.setenv("TESTSTRIP_HOME", str(tmp_path / "home"))
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(config()))
    return str(path)


def run(capsys, *args):
    code = main(["study", *args])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_plan_says_what_it_will_cost_and_makes_nothing(file, capsys, tmp_path):
    code, out, _ = run(capsys, "plan", file, "--json", "--seconds-per-image", "2")

    plan = json.loads(out)
    assert code == 0
    assert (plan["recipes"], plan["blocks"]) == (6, 8)
    assert plan["images_full_grid"] == 7 * 8
    assert plan["images_expected"] == 8 + 6 * 2 + 3 * 2 + 3 * 4
    assert plan["seconds_expected"] == 2 * plan["images_expected"]
    assert not (tmp_path / "home").exists()
    assert "full paired grid   56" in run(capsys, "plan", file)[1]


def test_the_plan_of_a_halving_race_over_a_grid_is_kept_exactly(file, capsys):
    planned = json.loads(run(capsys, "plan", file, "--json")[1])["images_expected"]

    made = json.loads(run(capsys, "run", file, "--no-track", "--json")[1])["images"]

    assert made == planned


def test_a_study_is_run_listed_shown_and_left_alone_when_it_is_finished(file, capsys):
    code, out, err = run(capsys, "run", file, "--no-track")
    assert (code, err) == (0, "")
    assert "small: finished" in out

    code, out, _ = run(capsys, "run", file, "--no-track")
    assert code == 0
    assert "(nothing was left to do)" in out
    assert json.loads(run(capsys, "list", "--json")[1])[0]["state"] == "finished"
    assert json.loads(run(capsys, "show", "small", "--json")[1])["result"]["images"] == 38
    assert "small" in run(capsys, "list")[1]
    assert json.loads(run(capsys, "confirm", "small", "--no-track", "--json")[1])["images_now"] > 0


def test_a_budget_grows_by_set(file, capsys):
    code, out, _ = run(capsys, "run", file, "--no-track", "--set", "budget.images=30")
    assert code == 0
    assert "teststrip study resume small --set budget.images=N" in out

    args = ("resume", "small", "--no-track", "--json", "--set", "budget.images=100")
    assert json.loads(run(capsys, *args)[1])["ending"] == "finished"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("plan", "nowhere.yaml"), 2, "no such file"),
        (("resume", "nobody"), 1, "no study 'nobody'"),
        (("show", "../../etc"), 1, "is no name of a study"),
        (("run",), 2, "Missing argument 'FILE'"),
        (("plan", "FILE", "--set", "seeds"), 2, "write key=value"),
        (("plan", "FILE", "--set", "seeds=0", "--set", "race.eta=1"), 2, "2 faults"),
    ],
)
def test_wrong_use_is_2_and_failure_is_1_with_one_message(file, capsys, args, code, message):
    got, out, err = run(capsys, *[file if arg == "FILE" else arg for arg in args])

    assert got == code
    assert message in err
    assert out == ""


def test_every_verb_has_help_with_an_example(capsys):
    for verb in ("plan", "run", "resume", "list", "show", "confirm"):
        code, out, _ = run(capsys, verb, "--help")
        assert code == 0
        assert "Example" in out, verb
        assert "--json" in out, verb
