"""The programs that the other tests here run: found, or missed loudly."""

from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.deploy


@pytest.mark.parametrize("name", ["caddy", "nginx", "promtool", "prometheus"])
def test_what_pip_cannot_give_is_fetched(tool, name):
    said = tool(name, {"caddy": "version", "nginx": "-v"}.get(name, "--version"))

    assert "2." in said.stdout + said.stderr or "1." in said.stdout + said.stderr


@pytest.mark.parametrize("name", ["helm_python", "hcl2", "moto"])
def test_the_packages_of_the_group_are_here(name):
    """Else files of tests would be left out, and nobody would know."""
    assert find_spec(name), f"{name} is missing: run make setup-check"


def test_a_missing_program_fails_and_says_what_to_do(tool):
    with pytest.raises(pytest.fail.Exception, match="no-such-program is missing: run make setup"):
        tool("no-such-program")


def test_a_program_that_ends_otherwise_than_told_fails_with_what_it_said(tool):
    with pytest.raises(pytest.fail.Exception, match="unknown program 'cowsay'"):
        tool("bash", "scripts/deploy_tools.sh", "cowsay")
    assert tool("bash", "scripts/deploy_tools.sh", "cowsay", rc=1).stdout == ""
