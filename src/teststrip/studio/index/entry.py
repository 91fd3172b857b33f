"""What the index knows of a study: all that a page needs to offer choices."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Setting:
    """A setting with more than one value. `field`: its column, `recipe.steps` or `param.x`;
    `label`: `steps`. `values`: distinct ones in order, at most 200 (`more`: there are others)."""

    field: str
    label: str
    numeric: bool
    values: tuple[Any, ...]
    more: bool = False


@dataclass(frozen=True)
class Score:
    """A score column, and the range of its values (None where no image has one)."""

    column: str
    higher_is_better: bool
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Entry:
    """One study. `paired`: recipes share blocks (imported folders do not). `version` changes
    whenever its images do: an ETag. `state`: running, finished, stopped, failed, imported."""

    name: str
    kind: Literal["study", "import"]
    state: str
    objective: str | None
    higher_is_better: bool
    baseline: str | None
    design: str | None
    created: str
    images: int
    failed: int
    recipes: int
    prompts: int
    paired: bool
    settings: tuple[Setting, ...]
    scores: tuple[Score, ...]
    tags: tuple[str, ...]
    version: str
