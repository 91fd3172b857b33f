"""What tests of deploy/ share: where things are, and the programs that read them.

    def test_it_is_valid(tool, deploy):
        tool("hadolint", deploy / "docker" / "Dockerfile")            # fails with its output
        out = tool("caddy", "adapt", "--config", file, cwd=folder)    # .stdout, .stderr
        bad = tool("promtool", "check", "rules", file, rc=1)          # must be refused

A program that is missing fails the test and says what to do: a check that does not run is none.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
# Of the dependency group `deploy`, which `make test` does without: files that import one are not
# even read there. test_tools.py fails where these tests are asked for and a package is not there.
PACKAGES = {
    "test_helm.py": "helm_python",
    "test_gitlab_runner.py": "helm_python",
    "test_gcp.py": "hcl2",
}
collect_ignore = [file for file, package in PACKAGES.items() if find_spec(package) is None]
FROM_DEBIAN = ("caddy", "nginx", "prometheus", "promtool")  # scripts/deploy_tools.sh knows them
ELSEWHERE = {
    "terraform": "install Terraform 1.11",
    "kubectl": "install kubectl",
    "openssl": "apt-get install openssl",
    "systemd-analyze": "apt-get install systemd",
    "initdb": "apt-get install postgresql",
}
Tool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def deploy() -> Path:
    return REPOSITORY / "deploy"


@pytest.fixture(scope="session")
def tool_path() -> Callable[[str], str]:
    """The path of a program: .venv's first, then Debian's, then the PATH's. Fails without it."""

    def find(name: str) -> str:
        found, why = _find(name)
        if not found:
            pytest.fail(f"{name} is missing: {why}", pytrace=False)
        return found

    return find


@pytest.fixture(scope="session")
def tool(tool_path: Callable[[str], str]) -> Tool:
    """Runs a program and asserts its exit status; what it said stands in the failure.

    `rc`: the status, or several that will do. `env`: added to this process' environment.
    `input`: text for its standard input. `cwd`: the repository, unless given.
    """

    def run(
        name: str,
        *args: object,
        rc: int | tuple[int, ...] = 0,
        cwd: Path = REPOSITORY,
        env: Mapping[str, str] | None = None,
        input: str | None = None,  # as subprocess calls it
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [tool_path(name), *map(str, args)],
            cwd=cwd,
            env=os.environ | (env or {}),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in ((rc,) if isinstance(rc, int) else rc):
            said = (done.stdout + done.stderr).strip()
            asked = " ".join(map(str, args))
            pytest.fail(
                f"{name} {asked}\nended with {done.returncode}, not {rc}:\n{said}", pytrace=False
            )
        return done

    return run


@pytest.fixture(scope="session")
def aws_plugins(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Environment in which Terraform finds the AWS provider; skips where there is no way to it.

    TESTSTRIP_TERRAFORM_PLUGINS: a folder made by `terraform providers mirror`; else
    /opt/tf-plugins, else Terraform's registry, where it answers.
    """
    mirror = Path(os.environ.get("TESTSTRIP_TERRAFORM_PLUGINS", "/opt/tf-plugins"))
    folder = tmp_path_factory.mktemp("terraform")
    config = folder / "terraformrc"
    if (mirror / "registry.terraform.io" / "hashicorp" / "aws").is_dir():
        config.write_text(
            f'provider_installation {{\n  filesystem_mirror {{ path = "{mirror}" }}\n}}\n'
        )
    else:
        try:
            socket.create_connection(("registry.terraform.io", 443), timeout=10).close()
        except OSError as exc:
            pytest.skip(
                f"AWS IS NOT CHECKED: no provider in {mirror}, registry not reached ({exc}); "
                "set TESTSTRIP_TERRAFORM_PLUGINS to what `terraform providers mirror` made"
            )
        config.write_text("")
    return {"TF_CLI_CONFIG_FILE": str(config), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}


@pytest.fixture(scope="session")
def rendered(deploy: Path) -> Callable[..., list[dict[str, Any]]]:
    """The chart's manifests, as Helm renders them; `file`: of deploy/helm, over it `values`."""
    if find_spec("helm_python") is None:
        pytest.fail("helm_python is missing: run make setup-check", pytrace=False)
    import helm_python as helm

    def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
        both = {k: merged(under[k], v) for k, v in over.items() if isinstance(under.get(k), dict)}
        return under | over | both

    def render(
        values: dict[str, Any] | None = None, *, file: str = "", name: str = "teststrip"
    ) -> list[dict[str, Any]]:
        given = yaml.safe_load((deploy / "helm" / file).read_text()) if file else {}
        with helm.Chart.load(deploy / "helm" / "teststrip") as chart:
            made = chart.render(merged(given, values or {}), name=name, namespace="pictures")
        texts = [text for path, text in sorted(made.items()) if path.endswith(".yaml")]
        return [part for text in texts for part in yaml.safe_load_all(text) if part]

    return render


@pytest.fixture
def local_aws(tmp_path: Path) -> Iterator[str]:
    """The address of an AWS on this machine (moto), empty, for this test alone."""
    with (tmp_path / "aws.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("local_aws.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert server.stdin
    assert server.stdout
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()


@cache
def _find(name: str) -> tuple[str, str]:
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return str(beside), ""
    if name in FROM_DEBIAN:
        asked = subprocess.run(
            [REPOSITORY / "scripts" / "deploy_tools.sh", name],
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout.strip(), asked.stderr.strip()
    found = shutil.which(name) or ""
    return found, ELSEWHERE.get(name, "run make setup-check")
