"""MlflowTracker: a study as a parent run, each recipe as a child run, its images as artifacts.

Only the client API is used: no active run, no global state, so it works beside a user's own
MLflow code. What the study's runs have is read once, when it starts; then a new recipe takes four
requests: its run, its pictures, one batch of all that is said of it, its end. The batch's tags name
the pictures and are sent last, so that a killed study sends again what was not yet whole.
`log_image` is not used: it drops the settings in our PNGs and sends two files for each picture.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from teststrip.errors import StorageError
from teststrip.recipe import Recipe
from teststrip.track import names, packs, runs
from teststrip.track.artifacts import Artifacts
from teststrip.track.connection import Connection
from teststrip.track.held import Held, picture_tag, recorded_pictures

# How a study's or recipe's own word becomes one of MLflow's; the word itself stays as a tag.
_ENDED = {"failed": "FAILED", "killed": "KILLED", "running": "RUNNING"}


class MlflowTracker:
    """Implements `teststrip.protocols.Tracker` on MLflow.

    `home`: where the sqlite file and the artifacts go without MLFLOW_TRACKING_URI. `experiment`:
    the project. All calls raise StorageError where the store refuses. One thread at a time, and
    one process at a time for each study.
    """

    def __init__(self, home: Path, experiment: str = "teststrip") -> None:
        self._connection = Connection(home, experiment)
        self._artifacts = Artifacts(self._connection)
        self._studies: dict[str, Held] = {}
        self._recipes: dict[str, dict[str, Held]] = {}  # study -> recipe id -> all that it has

    @property
    def connection(self) -> Connection:
        """Which store it speaks to."""
        return self._connection

    @property
    def uri(self) -> str:
        """Where the record goes, without any password."""
        return self._connection.shown

    def forget(self, name: str) -> None:
        """What the store has of study `name` is asked anew: another process wrote to it."""
        self._studies.pop(name, None)
        self._recipes.pop(name, None)

    def start_study(self, name: str, config: Mapping[str, Any]) -> str:
        """Open the study's parent run, or the one it had before it was killed."""
        with self._asked(name, f"open study {name!r}"):
            own = {
                names.KIND: "study",
                names.STUDY: name,
                names.CONFIG: names.config_hash(config),
            }
            self.forget(name)
            run = runs.opened_run(self._connection, name, own, {names.VERSION: _version()})
            study = Held(self._connection, run, status="RUNNING")
            study.add(params=names.flat(config))
            text = json.dumps(config, indent=1, ensure_ascii=False, sort_keys=True, default=str)
            self._artifacts.put(study.address, {names.CONFIG_FILE: text.encode()})
            self._studies[name] = study
            self._children(name)
            return study.run_id

    def log_recipe(  # noqa: PLR0917 - the protocol's shape
        self,
        name: str,
        recipe: Recipe,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        images: Mapping[str, bytes],
        status: str,
    ) -> str:
        """Record a recipe. Called again with more blocks it adds what is new."""
        with self._asked(name, f"record recipe {recipe.recipe_id} of study {name!r}"):
            run = self._recipe_run(name, recipe, status)
            fields = recipe.model_dump(mode="json") | dict(params)
            tags = self._pictures(run, recipe, images) | {names.STATUS: status}
            tags |= {names.ROLE: "baseline"} if status == "baseline" else {}
            run.add(fields, metrics, tags)
            run.end(_ENDED.get(status.lower(), "FINISHED"))
            return run.run_id

    def log_evidence(self, name: str, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """Add each recipe's evidence (gain, interval bounds, ...): `recipe_id` -> metrics.

        Recipes that were never recorded are left out.
        """
        with self._asked(name, f"record the evidence of study {name!r}"):
            known = self._children(name)
            for recipe_id, numbers in metrics.items():
                if recipe_id in known:
                    known[recipe_id].add(metrics=numbers)

    def finish_study(
        self,
        name: str,
        metrics: Mapping[str, float],
        files: Mapping[str, bytes],
        status: str,
    ) -> None:
        """Record summary and files; close the run."""
        with self._asked(name, f"finish study {name!r}"):
            study = self._study(name)
            self._artifacts.put(study.address, files)
            study.add(metrics=metrics, tags={names.STATUS: status})
            study.end(_ENDED.get(status.lower(), "FINISHED"))

    @contextmanager
    def _asked(self, name: str, doing: str) -> Iterator[None]:
        """After a failure nobody knows what arrived, so all of the study is asked anew."""
        try:
            with self._connection.border(doing):
                yield
        except BaseException:
            self.forget(name)
            raise

    def _study(self, name: str) -> Held:
        if name not in self._studies:
            run = runs.find_run(self._connection, {names.KIND: "study", names.STUDY: name})
            if run is None:
                raise StorageError(f"MLflow at {self.uri}: study {name!r} was never started there")
            self._studies[name] = Held(self._connection, run)
        return self._studies[name]

    def _children(self, name: str) -> dict[str, Held]:
        """Every recipe's run. Of two with one recipe, which a lost answer can leave, the older."""
        if name not in self._recipes:
            tags = {names.PARENT: self._study(name).run_id, names.KIND: "recipe"}
            found = runs.search_all(self._connection, tags)  # newest first
            self._recipes[name] = {
                run.data.tags.get(names.RECIPE_ID, ""): Held(self._connection, run) for run in found
            }
        return self._recipes[name]

    def _recipe_run(self, name: str, recipe: Recipe, status: str) -> Held:
        study, known = self._study(name), self._children(name)
        if recipe.recipe_id not in known:
            tags = {
                names.PARENT: study.run_id,
                names.RECIPE_ID: recipe.recipe_id,
                names.KIND: "recipe",
                names.STUDY: name,
                names.VERSION: _version(),
                names.RECIPE: names.fitted(recipe.canonical, names.MAX_TAG),
                names.PICTURES: "0",
            }
            tags |= {names.ROLE: "baseline"} if status == "baseline" else {}
            run = self._connection.client.create_run(
                self._connection.experiment_id, tags=tags, run_name=recipe.recipe_id
            )
            known[recipe.recipe_id] = Held(self._connection, run)
        return known[recipe.recipe_id]

    def _pictures(self, run: Held, recipe: Recipe, images: Mapping[str, bytes]) -> dict[str, str]:
        """Upload those that the run does not have; the tags that say so afterwards.

        A picture that is there under its name is the same picture (its name is its key).
        """
        there = {name for name, _ in recorded_pictures(run.tags)}
        tags: dict[str, str] = {}
        if names.PICTURES not in run.tags:  # by an earlier version: one file each, no tags
            listed = self._artifacts.names(run.address, names.IMAGES)
            sizes = {PurePosixPath(path).name: size for path, size in listed.items()}
            earlier = [n for n, size in sizes.items() if len(images.get(n, b"")) in (0, size)]
            for group in packs.groups(dict.fromkeys(earlier, 0)):
                tags |= picture_tag(names.SINGLE, packs.digest(group), group)
            there |= set(earlier)
        new = {name: data for name, data in images.items() if name not in there}
        tags[names.PICTURES] = str(len(there) + len(new))
        together, single = packs.sorted_out(new)
        for group in together:
            digest = packs.digest(group)
            title = f"{recipe.recipe_id}: {recipe.canonical}"
            page = packs.pack({name: new[name] for name in group}, title)
            self._artifacts.put(run.address, {packs.page_name(digest): page}, names.IMAGES)
            tags |= picture_tag(names.PACK, digest, group)
        for group in single:
            self._artifacts.put(run.address, {name: new[name] for name in group}, names.IMAGES)
            tags |= picture_tag(names.SINGLE, packs.digest(group), group)
        return tags


def _version() -> str:
    from teststrip import __version__

    return __version__
