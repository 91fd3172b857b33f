"""The loop of an import: look at every file once, keep it, judge it, write the table."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError, StudyError
from teststrip.files import write_atomic
from teststrip.imports import reading, table, texts, walk
from teststrip.imports.store import Kept, Store, key_of
from teststrip.protocols import Scorer
from teststrip.recipe import Block, Recipe, Request
from teststrip.records import Generation
from teststrip.study.folder import StudyFolder

KIND, STATE = "import", "imported"
OBJECTIVE = "technical.defects@1"
BATCH = 16
MOST_NAMED = 20
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Import:
    """What is to be imported. `scorers` by the name that asked for them."""

    folder: Path
    name: str
    scorers: Mapping[str, Scorer]
    link: bool = False


@dataclass(frozen=True)
class Imported:
    """What came of it. `tools`: pictures by who wrote their settings; `new`: made by this run."""

    name: str
    path: Path
    images: int
    new: int
    recipes: int
    prompts: int
    paired: bool
    tools: Mapping[str, int]
    same: int
    broken: Mapping[str, str]
    skipped: walk.Skipped
    params: Sequence[str] = ()
    left_out: Sequence[str] = ()
    unjudged: int = 0
    columns: Sequence[str] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """For --json and study.json."""
        some = dict(islice(self.broken.items(), MOST_NAMED))
        return {
            "study": self.name,
            "folder": str(self.path),
            "images": self.images,
            "new": self.new,
            "recipes": self.recipes,
            "prompts": self.prompts,
            "paired": self.paired,
            "read_by": dict(self.tools),
            "same_picture_again": self.same,
            "broken": {"count": len(self.broken), "first": some},
            "not_followed_links": self.skipped.links,
            "other_files": self.skipped.others,
            "folders_not_readable": self.skipped.closed,
            "settings": list(self.params),
            "settings_left_out": list(self.left_out),
            "without_a_score": self.unjudged,
            "scores": list(self.columns),
        }


def run(job: Import, home: Path, on_progress: OnProgress | None = None) -> Imported:
    """Import a folder into `home/studies/<name>`; again only looks at what is new.

    Raises ConfigError if there is no folder, StudyError if the name is a study's that was run or
    nothing in the folder is a picture.
    """
    skipped = walk.Skipped()
    target = StudyFolder(home / "studies" / job.name)
    inside = target.path.resolve()
    files = [
        f for f in walk.pictures(job.folder, skipped) if not Path(f.path).is_relative_to(inside)
    ]
    if target.exists() and target.read().get("kind") != KIND:
        raise StudyError(f"{job.name!r} is a study that was run; choose another --name")
    if not files and not target.exists():
        raise StudyError(f"{job.folder}: no .png, .jpg or .webp in there; nothing was imported")
    with target.locked():
        store = Store(target.path)
        before = len(store.kept)
        try:
            waiting = list(store.kept.values())  # kept by an earlier run, perhaps not judged
            for done, file in enumerate(files, start=1):
                waiting += _look(file, store, link=job.link)
                if len(waiting) >= BATCH:
                    _judge(store, job.scorers, waiting)
                    waiting = []
                if on_progress:
                    on_progress(done, len(files))
            _judge(store, job.scorers, waiting)
        finally:  # also when stopped: what was finished can be seen, the rest follows
            store.close()
            result = _finish(job, target, store, skipped, before)
    if not result.images:
        raise StudyError(f"{job.folder}: {len(files)} files, none of them a picture: {_why(store)}")
    return result


def _look(file: walk.File, store: Store, *, link: bool) -> list[Kept]:
    """Keep a file's picture; it is returned if it is new."""
    if store.knows(file):
        return []
    try:
        data = walk.content(file)
        key = key_of(data)
        if key in store.kept:
            store.note_same(file, key)
            return []
        picture = texts.open_picture(data)
    except ConfigError as exc:
        store.note_broken(file, str(exc))
        return []
    kept = Kept(
        key=key,
        file=file.name,
        png=f"images/{key[:2]}/{key}{texts.EXTENSIONS[picture.kind]}",
        width=picture.width,
        height=picture.height,
        found=reading.read(picture.texts),
    )
    store.keep(file, data, kept, link=link)
    return [kept]


def _judge(store: Store, scorers: Mapping[str, Scorer], waiting: list[Kept]) -> None:
    """Ask each scorer for the pictures that lack its columns."""
    for name, scorer in scorers.items():
        lacking = [k for k in waiting if not set(scorer.columns) <= set(k.scores)]
        for batch in _batches(lacking):
            _ask(store, name, scorer, batch)


def _ask(store: Store, name: str, scorer: Scorer, batch: list[Kept]) -> None:
    generations = [_generation(store, kept) for kept in batch]
    try:
        answers = scorer.score(generations)
    except Exception as exc:
        if len(batch) > 1:
            for kept in batch:
                _ask(store, name, scorer, [kept])
            return
        none = dict.fromkeys(scorer.columns)
        store.judge(batch[0].key, none, f"{name}: {type(exc).__name__}: {exc}"[:300])
        return
    for kept, answer in zip(batch, answers, strict=True):
        known = {c: v if math.isfinite(v) else None for c, v in answer.items()}
        blind = not kept.found.prompt and name not in ("technical", "aesthetic")
        if blind:  # a score of how well a picture fits words that nobody knows is made up
            known = dict.fromkeys(scorer.columns)
        bad = [column for column, value in known.items() if value is None]
        why = "no prompt" if blind else f"no score in {', '.join(bad)}" if bad else ""
        reasons = [kept.reason, f"{name}: {why}" if why else ""]
        store.judge(kept.key, known, "; ".join(reason for reason in reasons if reason))


def _generation(store: Store, kept: Kept) -> Generation:
    """A picture as scorers take it: PNG, with the prompt if there is one."""
    data = store.picture(kept.key)
    if not kept.png.endswith(".png"):
        data = texts.as_png(texts.open_picture(data))
    fields = dict(kept.found.fields)
    request = Request(
        recipe=Recipe.model_validate(fields),
        block=Block(prompt=kept.found.prompt or "unknown", seed=(kept.found.seed or 0) % 2**32),
    )
    return Generation(request, kept.key, data, math.nan, 0)


def _finish(
    job: Import, target: StudyFolder, store: Store, skipped: walk.Skipped, before: int
) -> Imported:
    kept = list(store.kept.values())
    columns = dict.fromkeys(c for one in kept for c in one.scores)
    better = {c: up for scorer in job.scorers.values() for c, up in scorer.columns.items()}
    params, left = table.params_of(kept)
    result = Imported(
        name=job.name,
        path=target.path,
        images=len(kept),
        new=len(kept) - before,
        recipes=len({one.found.recipe_id for one in kept}),
        prompts=len({one.found.prompt for one in kept if one.found.prompt}),
        paired=table.is_paired(kept),
        tools=dict(sorted(Counter(one.found.tool for one in kept).items())),
        same=len(store.same),
        broken=store.broken,
        skipped=skipped,
        params=params,
        left_out=left,
        unjudged=sum(all(v is None for v in one.scores.values()) for one in kept),
        columns=list(columns),
    )
    if not kept:
        return result
    old = target.read() if target.exists() else {}
    better = old.get("higher_is_better", {}) | better
    objective = _objective(job, list(columns), old)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_atomic(target.table, table.to_parquet(job.name, kept, list(columns)))
    target.write(
        kind=KIND,
        state=STATE,
        created=old.get("created", now),
        paired=result.paired,
        objective=objective,
        higher_is_better={c: better.get(c, True) for c in columns},
        source=str(job.folder.resolve()),
        config={
            "name": job.name,
            "design": {"kind": KIND},
            "objectives": [{"score": objective}] if objective else [],
            "baseline": {},
            "space": {},
        },
        imported=result.as_dict(),
    )
    return result


def _objective(job: Import, columns: list[str], old: Mapping[str, Any]) -> str | None:
    """The first score that was asked for by name; of the technical ones their count of defects."""
    asked = [c for n, s in job.scorers.items() if n != "technical" for c in s.columns]
    known = [old.get("objective"), *(c for c in asked if c in columns), OBJECTIVE, *columns]
    if asked and asked[0] in columns:
        return asked[0]
    return next((c for c in known if c in columns), None)


def _why(store: Store) -> str:
    return "; ".join(f"{n}: {why}" for n, why in islice(store.broken.items(), 3))


def _batches(items: list[Kept]) -> Iterator[list[Kept]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
