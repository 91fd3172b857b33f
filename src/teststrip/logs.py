"""The logging of our programs: to stderr, quiet unless TESTSTRIP_LOG says otherwise.

Only programs (the CLI) call `configure`; the library never touches handlers.
"""

import logging.config
import os
from typing import Any

from teststrip.errors import ConfigError

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def logging_config(level: str) -> dict[str, Any]:
    """The `logging.config` dict. Warnings of Python code are shown from INFO on."""
    chatty = level in ("DEBUG", "INFO")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "stream": "ext://sys.stderr",
            }
        },
        "loggers": {
            "teststrip": {"handlers": ["stderr"], "level": level},
            # speaks at import of kernels that it would like to have
            "bitsandbytes": {"level": "WARNING" if chatty else "ERROR"},
            "py.warnings": {"handlers": ["stderr"], "level": "WARNING" if chatty else "ERROR"},
        },
    }


def configure() -> None:
    """Set up logging for this process. Raises ConfigError for an unknown TESTSTRIP_LOG."""
    level = os.environ.get("TESTSTRIP_LOG", "WARNING").upper()
    if level not in LEVELS:
        raise ConfigError(f"TESTSTRIP_LOG={level}: accepted: {', '.join(LEVELS)}")
    logging.config.dictConfig(logging_config(level))
    logging.captureWarnings(True)
    # These set their own levels when they are first imported, and speak at every start otherwise.
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "info" if level in ("DEBUG", "INFO") else "error")
