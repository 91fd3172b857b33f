import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from teststrip import __version__, errors
from teststrip.cli import main as cli


def verbs(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, (*path, name))
        else:
            yield (*path, name), command


ALL_VERBS = dict(verbs(typer.main.get_command(cli.app)))


def test_the_nouns_are_there():
    nouns = {"image", "study", "track", "train", "studio", "service", "project", "doctor"}
    assert {path[0] for path in ALL_VERBS} == nouns


@pytest.mark.parametrize("path", ALL_VERBS, ids=" ".join)
def test_every_verb_has_a_purpose_an_example_and_json(path, run):
    answer = run(*path, "--help")

    assert answer.code == 0
    assert "Example" in answer.out
    assert "--json" in answer.out
    assert f"teststrip {' '.join(path)}" in answer.out.split("Example")[1]
    assert ALL_VERBS[path].get_short_help_str(limit=200).strip()


def test_version_is_the_package_version(run):
    assert run("--version").out == f"teststrip {__version__}\n"


def test_nothing_asked_shows_help_and_is_wrong_use(run):
    answer = run()

    assert answer.code == 2
    assert "Usage: teststrip" in answer.err
    assert answer.out == ""


@pytest.mark.parametrize(
    ("argv", "near"),
    [
        (["imagee"], "image"),
        (["image", "genrate"], "generate"),
        (["image", "show", "--jsn"], "json"),
    ],
)
def test_a_misspelt_word_is_wrong_use_and_gets_a_suggestion(argv, near, run):
    answer = run(*argv)

    assert answer.code == 2
    assert near in answer.err
    assert "--help" in answer.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("bad", ["a: b", "c: d"]), 2),
        (errors.ModelError("bad"), 2),
        (errors.PluginError("bad"), 2),
        (errors.MissingExtra("bad", "engine"), 2),
        (errors.GenerationError("bad"), 1),
        (errors.StorageError("bad"), 1),
        (errors.StudyError("bad"), 1),
        (ZeroDivisionError("bad"), 1),
        (KeyboardInterrupt(), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_its_exit_code_one_message_and_json(error, code, run, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    answer = run("doctor", "--json")

    assert answer.code == code
    assert "Traceback" not in answer.err
    assert str(error) in answer.err
    assert answer.json["error"]["type"] == type(error).__name__
    assert answer.json["error"]["message"] == answer.err.removesuffix("\n")


def test_without_json_stdout_stays_empty_on_errors(run):
    answer = run("image", "generate", "x", "--steps", "0")

    assert (answer.code, answer.out) == (2, "")


def test_a_config_error_lists_its_faults_in_json(run):
    answer = run("image", "generate", "x", "--steps", "0", "--eta", "2", "--json")

    assert [fault.partition(":")[0] for fault in answer.json["error"]["faults"]] == [
        "--eta",
        "--steps",
    ]


def test_ctrl_c_in_a_verb_is_stopped_with_code_1(run, monkeypatch):
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("teststrip.cli.flags.read_file", interrupt)
    answer = run("image", "show", "x.png")

    assert answer.code == 1
    assert "stopped" in answer.err


def test_an_unexpected_error_names_the_switch_that_shows_its_origin(run, monkeypatch):
    def stumble(_: object) -> None:
        raise ZeroDivisionError("made up")

    monkeypatch.setattr("teststrip.cli.flags.read_file", stumble)
    quiet = run("image", "show", "x.png")
    monkeypatch.setenv("TESTSTRIP_DEBUG", "1")
    debug = run("image", "show", "x.png")

    assert quiet.code == debug.code == 1
    assert "TESTSTRIP_DEBUG=1" in quiet.err
    assert "Traceback" not in quiet.err
    assert "Traceback" in debug.err
    assert "stumble" in debug.err


def test_an_unknown_log_level_is_wrong_use(run, monkeypatch):
    monkeypatch.setenv("TESTSTRIP_LOG", "loud")
    answer = run("image", "schedulers", "--json")

    assert answer.code == 2
    assert "DEBUG, INFO, WARNING, ERROR" in json.loads(answer.out)["error"]["message"]
