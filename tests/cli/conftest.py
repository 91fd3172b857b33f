import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from teststrip.cli.main import main


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Answer]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Run]:
    """Run a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        monkeypatch.setenv(name, "error")

    def command(*argv: object) -> Answer:
        capsys.readouterr()
        code = main([str(word) for word in argv])
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    yield command
    # The handlers hold this test's stderr, which is closed now.
    logging.captureWarnings(False)
    for name in ("teststrip", "py.warnings"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real Stable Diffusion folder with random weights, 32 x 32 px."""
    from teststrip.testing.tiny import tiny_pipeline

    return tiny_pipeline(tmp_path_factory.mktemp("models") / "tiny")
