"""Which column of somebody's table is what: told by flags, or by stated rules.

A table of ours says it by its names (`recipe.<field>`, `recipe_id`, scores with a version). In
any other table, what no flag names is told apart so:

    prompt, seed, seconds, ...   by the names that tools give them (see NAMES)
    score                        its name has an @ or says score, or its numbers mostly differ
    of the prompt or the block   one value for each prompt (or prompt and seed): no setting
    setting                      all else, whatever it is called (cfg, sampler_name, ...)

With `--score` given, what does not look like one too is a setting; with `--setting` given, all
other numbers are scores. What was assumed is said (`notes`); where nothing sensible comes out, what
to pass.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError
from teststrip.evidence.table import NEUTRAL, NOT_SCORES, PARAM, RECIPE

if TYPE_CHECKING:
    import pandas as pd

DUMMY = "dummy_"
MOSTLY = 0.8
NAMES = {
    "recipe": ("recipe_id", "recipe", "config_id", "setting_id"),
    "prompt": ("prompt_id", "prompt", "positive_prompt", "caption", "text"),
    "seed": ("seed", "noise_seed"),
    "status": ("status",),
    "seconds": (
        "seconds",
        "secs",
        "sec",
        "seconds_per_image",
        "time_s",
        "latency_s",
        "duration_s",
        "elapsed_s",
    ),
    "split": ("split",),
}
BOOKS = {*NOT_SCORES, *NEUTRAL} | {
    *("started", "finished", "created", "timestamp", "time", "date", "id", "index", "run_id"),
    *("image", "image_id", "image_path", "filename", "file", "path", "url"),
    *("sha256", "md5", "hash"),
}
SAYS_SCORE = re.compile(
    r"@|score|rating|reward|aesthetic|pickscore|hps|clip_?sim|^clip$|niqe|brisque"
)
LESS_IS_BETTER = re.compile(r"lpips|niqe|brisque|piqe|\bfid\b|loss|error|defect", re.IGNORECASE)


@dataclass(frozen=True)
class Given:
    """What the flags say; None or empty where they say nothing."""

    scores: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    recipe: str | None = None
    prompt: str | None = None
    seed: str | None = None
    status: str | None = None
    seconds: str | None = None
    split: str | None = None

    def named(self) -> dict[str, str]:
        """Flag -> column, for every column that a flag names."""
        single = {role: getattr(self, role) for role in NAMES}
        many = [("score", n) for n in self.scores] + [("setting", n) for n in self.settings]
        out = {f"--{role}": name for role, name in single.items() if name is not None}
        return out | {f"--{role} {name}": name for role, name in many}


@dataclass(frozen=True)
class Roles:
    """Columns by what they are. `notes`: what was assumed, one sentence each."""

    single: dict[str, str]
    scores: tuple[str, ...]
    settings: tuple[str, ...]
    notes: tuple[str, ...]


def roles(frame: "pd.DataFrame", given: Given, what: str) -> Roles:
    """Tell the columns apart. Raises ConfigError with every fault and what to pass."""
    single = {role: _single(frame, role, given) for role in NAMES}
    found = {role: name for role, name in single.items() if name is not None}
    faults = [
        f"{flag} {name!r}: no such column" if " " not in flag else f"{flag}: no such column"
        for flag, name in given.named().items()
        if name not in frame.columns
    ]
    if "prompt" not in found:
        faults.append("no column of prompts; name it with --prompt COLUMN")
    if faults:
        raise ConfigError(f"{what}: {_columns(frame)}", faults)
    rest = [n for n in frame.columns if n not in found.values() and not _is_book(n, given)]
    own = [n for n in rest if n.startswith((RECIPE, PARAM))]
    if own or "recipe_id" in frame.columns:
        scores, settings, dropped = _ours(frame, rest, own, given)
    else:
        scores, settings, dropped = _told_apart(frame, rest, found, given)
    if not scores:
        why = "no column of scores could be told" if not given.scores else "--score has no numbers"
        raise ConfigError(
            f"{what}: {_columns(frame)}", [f"{why}; name it with --score COLUMN (repeatable)"]
        )
    if not settings and "recipe" not in found:
        raise ConfigError(
            f"{what}: {_columns(frame)}",
            ["no column of settings could be told; name them with --setting, or ids with --recipe"],
        )
    notes = _notes(found, scores, settings, dropped, given) if not own else ()
    return Roles(found, tuple(scores), tuple(settings), notes)


def is_number(column: Any) -> bool:
    """Numbers, and no truth values."""
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column))


def _single(frame: "pd.DataFrame", role: str, given: Given) -> str | None:
    """The column of a role: the flag's, or the first that has one of its usual names."""
    flagged: str | None = getattr(given, role)
    if flagged is not None:
        return flagged
    taken = {*given.scores, *given.settings}
    return next((n for n in NAMES[role] if n in frame.columns and n not in taken), None)


def _is_book(name: str, given: Given) -> bool:
    flagged = {*given.scores, *given.settings}
    return name not in flagged and (name.lower() in BOOKS or name.startswith("Unnamed:"))


Split = tuple[list[str], list[str], list[str]]


def _ours(frame: "pd.DataFrame", rest: list[str], own: list[str], given: Given) -> Split:
    """Further scores are kept beside those that a flag names: they are told by their columns."""
    others = [n for n in rest if n not in own and is_number(frame[n])]
    scores = list(dict.fromkeys([*given.scores, *others]))
    settings = list(given.settings) or own
    return scores, settings, [n for n in rest if n not in {*scores, *settings}]


def _told_apart(
    frame: "pd.DataFrame", rest: list[str], found: dict[str, str], given: Given
) -> Split:
    open_ = [n for n in rest if n not in {*given.scores, *given.settings}]
    numbers = [n for n in open_ if _is_mostly_number(frame[n])]
    if given.settings:
        scores = list(given.scores) or numbers
        settings = list(given.settings)
    else:
        like = [n for n in numbers if SAYS_SCORE.search(n.lower()) or _mostly_differ(frame[n])]
        scores = [*given.scores, *like]
        open_ = [n for n in open_ if n not in like]
        attributes = _of_block(frame, open_, found)
        settings = [n for n in open_ if n not in attributes and _may_set(frame[n])]
    return scores, settings, [n for n in rest if n not in {*scores, *settings}]


def _is_mostly_number(column: "pd.Series") -> bool:
    """Numbers, perhaps with a few words among them where a scorer failed."""
    import pandas as pd

    if is_number(column) or pd.api.types.is_bool_dtype(column):
        return is_number(column)
    known = column.dropna()
    return bool(len(known) and pd.to_numeric(known, errors="coerce").notna().mean() >= MOSTLY)


def _mostly_differ(column: "pd.Series") -> bool:
    """Fractions of which more than half are different: a setting would repeat on every block."""
    import numpy as np
    import pandas as pd

    known = pd.to_numeric(column, errors="coerce").astype(float)
    known = known[np.isfinite(known)]
    if len(known) < 4 or not (known % 1 != 0).any():
        return False
    return bool(known.nunique() > len(known) / 2)


def _may_set(column: "pd.Series") -> bool:
    import pandas as pd

    return not pd.api.types.is_datetime64_any_dtype(column)


def _of_block(frame: "pd.DataFrame", names: Iterable[str], found: dict[str, str]) -> set[str]:
    """The columns that have one value for each prompt, or for each prompt and seed.

    Asked only where prompts (or blocks) come back often enough for that to say something.
    """
    out: set[str] = set()
    keys = [found["prompt"]], [found["prompt"], found.get("seed", found["prompt"])]
    for key in keys:
        groups = frame.groupby(list(dict.fromkeys(key)), dropna=False, sort=False)
        if groups.ngroups < 2 or len(frame) < 2 * groups.ngroups:
            continue
        for name in names:
            try:
                column = frame[name]
                if column.nunique(dropna=False) > 1 and (groups[name].nunique(False) <= 1).all():
                    out.add(name)
            except TypeError:  # lists and the like have no order and no hash
                continue
    return out


def _notes(
    found: dict[str, str],
    scores: Sequence[str],
    settings: Sequence[str],
    dropped: Sequence[str],
    given: Given,
) -> tuple[str, ...]:
    said = [f"Settings: {', '.join(settings) or 'none but the recipe ids'}."]
    if len(scores) > 1 and not given.scores:
        said.append(
            f"Scores: {', '.join(scores)}; ranked by {scores[0]} (--score chooses another)."
        )
    elif not given.scores:
        said.append(f"Score: {scores[0]}.")
    if dropped:
        said.append(f"Not used: {', '.join(dropped)}.")
    if "seconds" in found and not given.seconds and found["seconds"] != "seconds":
        said.append(f"Seconds per image: {found['seconds']}.")
    return tuple(said)


def _columns(frame: "pd.DataFrame") -> str:
    names = ", ".join(map(repr, frame.columns[:30]))
    more = f" and {len(frame.columns) - 30} more" if len(frame.columns) > 30 else ""
    return f"cannot be used; its columns are {names}{more}"
