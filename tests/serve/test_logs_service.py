import json
import logging
from collections.abc import Iterator

import pytest

from teststrip.errors import ConfigError
from teststrip.serve.operate import logs

LOGGERS = ("teststrip", "py.warnings", "uvicorn", "aio_pika", "aiormq", "redis", "mlflow")
log = logging.getLogger("teststrip.serve.somewhere")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    logging.captureWarnings(False)
    for name in LOGGERS:
        found = logging.getLogger(name)
        found.handlers.clear()
        found.setLevel(logging.NOTSET)
        found.propagate = True


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_json_with_time_level_role_and_the_job(capsys):
    logs.configure("worker")

    log.info("made %d images", 3, extra={"job": "a" * 32, "seconds": 1.5, "prompt": "secret"})

    (line,) = lines(capsys)
    assert line["message"] == "made 3 images"
    assert line["level"] == "INFO"
    assert line["role"] == "worker"
    assert line["job"] == "a" * 32
    assert line["seconds"] == "1.5"
    assert line["time"].endswith("Z")
    assert "secret" not in json.dumps(line)


def test_a_fault_is_one_line_with_its_traceback(capsys):
    logs.configure("web", "json")

    try:
        int("two\nlines")
    except ValueError:
        log.exception("went wrong")

    (line,) = lines(capsys)
    assert "ValueError: invalid literal" in line["error"]
    assert "Traceback" in line["error"]


def test_at_a_terminal_people_get_text(capsys):
    logs.configure("up", "text")

    log.info("done", extra={"job": "0123456789abcdef" * 2, "state": "done"})

    assert capsys.readouterr().err.endswith(" INFO done job=0123456789ab state=done\n")


def test_the_level_is_that_of_all_our_programs(capsys, monkeypatch):
    monkeypatch.setenv("TESTSTRIP_LOG", "ERROR")
    logs.configure("web")
    log.warning("not told")
    assert lines(capsys) == []

    monkeypatch.setenv("TESTSTRIP_LOG", "LOUD")
    with pytest.raises(ConfigError, match="accepted: DEBUG"):
        logs.configure("web")


def test_servers_and_libraries_tell_only_what_is_wrong_and_in_the_same_form(capsys):
    logs.configure("web", "json")

    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("aio_pika.robust_connection").warning("connection lost")

    assert [line["message"] for line in lines(capsys)] == ["connection lost"]
