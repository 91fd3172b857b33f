"""docs/service.md tells what is: its settings, and its examples on a service that runs."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from teststrip.serve.config import ServiceConfig
from teststrip.testing.service_process import ServiceProcess

TEXT = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([A-Z0-9_]+)` \| (?:`([^`]*)` )?\| ?(.*)\|$", re.MULTILINE)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WRITTEN = "http://127.0.0.1:8000"


def code(language: str) -> list[str]:
    found = [text for kind, text in BLOCK.findall(TEXT) if kind == language]
    assert found
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path_factory.mktemp("service"), "up") as running:
        yield running


def test_every_setting_is_told_with_its_default():
    told = {name: default for name, default, _ in ROW.findall(TEXT)}
    real = {
        name.upper(): ",".join(value) if isinstance(value := field.default, tuple) else value
        for name, field in ServiceConfig.model_fields.items()
    }

    assert told == {name: "" if value is None else str(value) for name, value in real.items()}


@pytest.mark.parametrize("block", range(len(code("bash"))))
def test_the_examples_with_curl_run(block, service, tmp_path):
    script = code("bash")[block].replace(WRITTEN, service.address)

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("curl -s", "curl -sS --fail-with-body")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    if block == 0:
        assert (tmp_path / "apple.png").read_bytes().startswith(b"\x89PNG")
    else:
        first, again = done.stdout.splitlines()
        assert first.startswith("202 /api/jobs/")
        assert again == first.replace("202", "200", 1)


def test_the_example_with_openai_runs(service):
    pytest.importorskip("openai")
    (script,) = code("py")
    scope: dict = {}

    exec(compile(script.replace(WRITTEN, service.address), "docs/service.md", "exec"), scope)

    assert len(scope["made"].data[0].b64_json) > 100
    scope["client"].close()


def test_every_path_that_is_told_is_there(service):
    paths = service.get("/api/openapi.json").json()["paths"]
    told = re.findall(r"`(?:(GET|POST|DELETE) )?(/(?:api|v1|healthz|readyz|metrics)[^`?]*)`", TEXT)

    known = {re.sub(r"\{\w+(:\w+)?\}", "{}", path) for path in paths}
    for _, path in told:
        if path == "/api/openapi.json":
            continue
        assert re.sub(r"\b(ID|K)\b", "{}", path) in known, path
