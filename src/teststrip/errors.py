"""Every error that Teststrip raises on purpose.

    TeststripError
    |- ConfigError (ValueError)        a file, field or flag is wrong; lists every fault
    |- ModelError (ValueError)         a model folder or hub id cannot be used
    |- PluginError (LookupError)       a named generator, scorer or sampler cannot be loaded
    |- MissingExtra (ImportError)      an optional package is not installed; names the install line
    |- GenerationError (RuntimeError)  an image could not be made
    |- StorageError (OSError)          the disk or a store refused a read or a write
    `- StudyError (RuntimeError)       a study cannot start, go on or be reported

A message says what failed, the value it got, what is accepted and what to do.
"""

from collections.abc import Sequence


class TeststripError(Exception):
    """Base of all errors that Teststrip raises on purpose."""

    exit_code = 1


class ConfigError(TeststripError, ValueError):
    """Input is wrong; `faults` holds one line for each fault found."""

    exit_code = 2

    def __init__(self, what: str, faults: Sequence[str] = ()) -> None:
        self.what = what
        self.faults = tuple(faults)
        lines = [what, *(f"  - {fault}" for fault in self.faults)]
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[str, tuple[str, ...]]]:
        return type(self), (self.what, self.faults)


class ModelError(TeststripError, ValueError):
    """A model folder or hub id cannot be used."""

    exit_code = 2


class PluginError(TeststripError, LookupError):
    """A named generator, scorer or sampler cannot be loaded."""

    exit_code = 2


class MissingExtra(TeststripError, ImportError):  # noqa: N818 - it says what is missing
    """An optional package is not installed."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part: pip install 'teststrip[{extra}]'")


class GenerationError(TeststripError, RuntimeError):
    """An image could not be made."""


class StorageError(TeststripError, OSError):
    """The disk or a store refused a read or a write."""


class StudyError(TeststripError, RuntimeError):
    """A study cannot start, go on or be reported."""
