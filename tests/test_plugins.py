import subprocess
import sys
from pathlib import Path

import pytest

from teststrip import plugins
from teststrip.errors import MissingExtra, PluginError


@pytest.mark.parametrize("name", [*plugins.SCORERS, *plugins.GENERATORS])
def test_every_built_in_name_loads(name: str) -> None:
    table = plugins.SCORERS if name in plugins.SCORERS else plugins.GENERATORS

    assert callable(plugins.load(name, table, "plug-in"))


def test_an_unknown_name_lists_the_accepted_ones() -> None:
    with pytest.raises(PluginError, match="unknown scorer 'clop'; accepted: technical, clip,"):
        plugins.load("clop", plugins.SCORERS, "scorer")


def test_a_users_own_module_beside_the_study_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_scorer.py").write_text("class Mine: pass\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)

    kind = plugins.load("my_own_scorer:Mine", plugins.SCORERS, "scorer")

    assert kind.__name__ == "Mine"
    assert sys.path == path
    with pytest.raises(PluginError, match="my_own_scorer has no 'Yours'"):
        plugins.load("my_own_scorer:Yours", plugins.SCORERS, "scorer")


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(PluginError, match="cannot import 'no_such_module'; is it installed"):
        plugins.load("no_such_module:Thing", plugins.SCORERS, "scorer")


def test_a_fault_inside_a_users_module_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faulty_scorer.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ZeroDivisionError):
        plugins.load("faulty_scorer:Mine", plugins.SCORERS, "scorer")


def test_a_missing_package_names_the_install_line() -> None:
    """In a fresh interpreter whose torch cannot be imported."""
    code = """
import sys
sys.modules["torch"] = None
from teststrip import plugins
from teststrip.errors import MissingExtra
try:
    plugins.load("clip", plugins.SCORERS, "scorer")
except MissingExtra as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == (
        "scorer 'clip' (package torch) needs an optional part: pip install 'teststrip[engine]'"
    )
    assert issubclass(MissingExtra, ImportError)
