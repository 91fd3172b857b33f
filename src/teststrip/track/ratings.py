"""People's ratings of pictures in production, in MLflow: they return to the evidence.

One run for each version served, in the experiment `teststrip-production`: files of ratings, the
share of thumbs up with its interval as metrics, and a tag on the registered version. A file
belongs to one writer and one day, so web processes never write over each other; a rating that was
sent twice counts once, and of two for one picture the later one counts.
"""

import json
import secrets
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from teststrip.recipe import Frozen, short_hash
from teststrip.track import names
from teststrip.track.connection import Connection
from teststrip.track.runs import find_run, opened_run, search_all
from teststrip.track.share import Share, share_of

EXPERIMENT = "teststrip-production"
KIND, FOLDER = "ratings", "ratings"
MODEL, NUMBER = "teststrip.model", "teststrip.model_version"
GONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
RECIPES = "recipe "  # a recipe that is no registered version is kept under "recipe <its name>"


class Served(Frozen):
    """What made a picture: a registered version, or a named recipe (its id is the version)."""

    model: str = Field(min_length=1, max_length=300)
    version: str = Field(min_length=1, max_length=100)

    @property
    def is_registered(self) -> bool:
        """Is it a version in the model registry?"""
        return not self.model.startswith(RECIPES)


class Rating(Frozen):
    """One person's word on one picture. `thumb`: 1 up, -1 down, 0 taken back.

    `job` and `index` name the picture, `at` is in seconds since 1970, `recipe` holds the fields
    that differ from the defaults.
    """

    served: Served
    job: str = Field(pattern=r"^[0-9a-f]{32}$")
    index: int = Field(ge=0)
    person: str = Field(max_length=200)
    thumb: Literal[-1, 0, 1]
    at: float
    prompt: str
    seed: int
    recipe_id: str
    recipe: dict[str, Any] = Field(default_factory=dict)
    sha256: str = ""

    @property
    def prompt_id(self) -> str:
        """Eight hex digits that name the prompt's text, as in studies."""
        return short_hash(self.prompt, 8)


class Ratings:
    """Writes and reads ratings. One thread at a time.

    All calls raise StorageError where MLflow cannot be reached or refuses; then nothing is lost:
    the same call again does the rest.
    """

    def __init__(self, home: Path, experiment: str = EXPERIMENT) -> None:
        self._connection = Connection(home, experiment)
        self._registered: dict[Served, str] = {}
        self._writer = secrets.token_hex(4)
        self._mine: dict[tuple[Served, str], dict[tuple[str, int], Rating]] = {}
        self._read: dict[tuple[str, str, int], list[Rating]] = {}

    @property
    def uri(self) -> str:
        """Where they go, without any password."""
        return self._connection.shown

    def add(self, ratings: Sequence[Rating]) -> dict[Served, Share]:
        """Keep them, and bring metrics and tags up to date; the shares of what was touched."""
        by_version: dict[Served, list[Rating]] = {}
        for rating in ratings:
            by_version.setdefault(self._made_by(rating), []).append(rating)
        return {served: self._add(served, rows) for served, rows in by_version.items()}

    def versions(self) -> list[Served]:
        """All that was rated: a model's versions together, the newest first."""
        with self._connection.border("list what was rated"):
            runs = search_all(self._connection, {names.KIND: KIND})
        found = {
            Served(model=run.data.tags[MODEL], version=run.data.tags[NUMBER]): run.info.start_time
            for run in runs
        }
        newest = sorted(found, key=lambda s: (_number(s.version), found[s]), reverse=True)
        return sorted(newest, key=lambda served: served.model)

    def of(self, served: Served) -> list[Rating]:
        """What counts for this version: of each picture the last word, oldest first."""
        with self._connection.border(f"read the ratings of {served.model} {served.version}"):
            run = find_run(self._connection, _tags(served))
            return [] if run is None else self._counting(run.info.run_id)

    def share(self, served: Served) -> Share:
        """The share of thumbs up."""
        return share(self.of(served))

    def _made_by(self, rating: Rating) -> Served:
        """Its version; a recipe that was changed on top of a version is none of its own."""
        served = rating.served
        if not served.is_registered:
            return served
        if served not in self._registered:
            with self._connection.border(f"read {served.model} version {served.version}"):
                self._registered[served] = self._recipe_of(served)
        if self._registered[served] in ("", rating.recipe_id):
            return served
        return Served(model=f"{RECIPES}{served.model}, changed", version=rating.recipe_id)

    def _recipe_of(self, served: Served) -> str:
        """The recipe id that was registered; "" where there is no such version, or none told."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._connection.client.get_model_version(served.model, served.version)
        except MlflowException as exc:
            if exc.error_code not in GONE:
                raise
            return ""
        return str(found.tags.get("recipe_id", ""))

    def _add(self, served: Served, rows: Sequence[Rating]) -> Share:
        connection = self._connection
        with connection.border(f"record ratings of {served.model} {served.version}"):
            name = f"{served.model} {served.version}"
            run = opened_run(connection, name, _tags(served), {})
            run_id = str(run.info.run_id)
            self._write(run_id, served, rows)
            found = share(self._counting(run_id))
            self._tell(run, served, found)
            return found

    def _write(self, run_id: str, served: Served, rows: Sequence[Rating]) -> None:
        day = time.strftime("%Y-%m-%d", time.gmtime())
        mine = self._mine.setdefault((served, day), {})
        for rating in rows:
            _keep_later(mine, rating)
        for old in [key for key in self._mine if key[0] == served and key[1] != day]:
            del self._mine[old]
        with tempfile.TemporaryDirectory(prefix="teststrip-") as place:
            path = Path(place) / f"{day}-{self._writer}.jsonl"
            lines = [rating.model_dump_json() for rating in mine.values()]
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            self._connection.client.log_artifact(run_id, str(path), FOLDER)

    def _counting(self, run_id: str) -> list[Rating]:
        last: dict[tuple[str, int], Rating] = {}
        for found in self._connection.client.list_artifacts(run_id, FOLDER):
            for rating in self._file(run_id, found.path, int(found.file_size or 0)):
                _keep_later(last, rating)
        return sorted(last.values(), key=lambda rating: rating.at)

    def _file(self, run_id: str, path: str, size: int) -> list[Rating]:
        """A file's rows. It only grows, or a word in it changes: today's is always read."""
        today = time.strftime("%Y-%m-%d", time.gmtime())
        if (known := self._read.get((run_id, path, size))) and not Path(path).name.startswith(
            today
        ):
            return known
        with tempfile.TemporaryDirectory(prefix="teststrip-") as place:
            local = self._connection.client.download_artifacts(run_id, path, place)
            rows = _rows(Path(local).read_text(encoding="utf-8").splitlines())
        self._read[run_id, path, size] = rows
        return rows

    def _tell(self, run: Any, served: Served, found: Share) -> None:
        """Metrics of the run, and a tag on the registered version, where they are new."""
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        client = self._connection.client
        told = names.finite({k: v for k, v in found.as_dict().items() if v is not None})
        now = int(time.time() * 1000)
        changed = {k: v for k, v in told.items() if run.data.metrics.get(k) != v}
        if changed:
            client.log_batch(
                run.info.run_id, metrics=[Metric(k, v, now, 0) for k, v in changed.items()]
            )
        if served.is_registered:
            try:
                client.set_model_version_tag(served.model, served.version, KIND, str(found))
            except MlflowException as exc:  # a version may have been deleted; its ratings stay
                if exc.error_code not in GONE:
                    raise


def share(ratings: Iterable[Rating]) -> Share:
    """The share of thumbs up of these; those taken back do not count."""
    return share_of((r.thumb > 0, r.prompt_id, r.person) for r in ratings if r.thumb)


def _tags(served: Served) -> dict[str, str]:
    return {names.KIND: KIND, MODEL: served.model, NUMBER: served.version}


def _keep_later(into: dict[tuple[str, int], Rating], rating: Rating) -> None:
    key = (rating.job, rating.index)
    if key not in into or into[key].at <= rating.at:
        into[key] = rating


def _rows(lines: Iterable[str]) -> list[Rating]:
    """Lines that are ratings; one that is none (a foreign or newer file) is passed over."""
    rows = []
    for line in lines:
        try:
            rows.append(Rating.model_validate(json.loads(line)))
        except (ValidationError, ValueError):
            continue
    return rows


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0
