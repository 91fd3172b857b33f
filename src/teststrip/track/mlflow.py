"""MlflowTracker: a study as a parent run, each recipe as a child run, its images as artifacts.

Only the client API is used: no active run, no global state, so it works beside a user's own
MLflow code. Runs are found by their tags before they are made; parameters, metrics and images
that are already there are not sent again. `log_image` is not used: it drops the settings in our
PNGs and takes 0.2 s per picture.
"""

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from teststrip.errors import StorageError
from teststrip.recipe import Recipe
from teststrip.track import names, runs
from teststrip.track.connection import Connection

# How a study's or recipe's own word becomes one of MLflow's; the word itself stays as a tag.
_ENDED = {"failed": "FAILED", "killed": "KILLED", "running": "RUNNING"}


class MlflowTracker:
    """Implements `teststrip.protocols.Tracker` on MLflow.

    `home`: where the sqlite file and the artifacts go without MLFLOW_TRACKING_URI. `experiment`:
    the project. All calls raise StorageError where the store refuses. One thread at a time.
    """

    def __init__(self, home: Path, experiment: str = "teststrip") -> None:
        self._connection = Connection(home, experiment)
        self._studies: dict[str, str] = {}
        self._recipes: dict[tuple[str, str], str] = {}

    @property
    def uri(self) -> str:
        """Where the record goes, without any password."""
        return self._connection.shown

    def start_study(self, name: str, config: Mapping[str, Any]) -> str:
        """Open the study's parent run, or the one it had before it was killed."""
        with self._connection.border(f"open study {name!r}"):
            own = {
                names.KIND: "study",
                names.STUDY: name,
                names.CONFIG: names.config_hash(config),
            }
            run = runs.opened_run(self._connection, name, own, {names.VERSION: _version()})
            run_id = str(run.info.run_id)
            self._studies[name] = run_id
            self._batch(run_id, params=names.flat(config))
            text = json.dumps(config, indent=1, ensure_ascii=False, sort_keys=True, default=str)
            self._files(run_id, {names.CONFIG_FILE: text.encode()}, replace=True)
            for child in self._children(run_id):
                self._recipes[name, child.data.tags.get(names.RECIPE_ID, "")] = child.info.run_id
            return run_id

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
        with self._connection.border(f"record recipe {recipe.recipe_id} of study {name!r}"):
            run_id = self._recipe_run(name, recipe, status)
            fields = recipe.model_dump(mode="json") | dict(params)
            self._batch(run_id, params=fields, metrics=metrics)
            self._files(run_id, images, folder=names.IMAGES)
            self._end(run_id, status)
            return run_id

    def log_evidence(self, name: str, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """Add each recipe's evidence (gain, interval bounds, ...): `recipe_id` -> metrics.

        Recipes that were never recorded are left out.
        """
        with self._connection.border(f"record the evidence of study {name!r}"):
            parent = self._study_run(name)
            known = {
                run.data.tags.get(names.RECIPE_ID): run.info.run_id
                for run in self._children(parent)
            }
            for recipe_id, numbers in metrics.items():
                if recipe_id in known:
                    self._batch(known[recipe_id], metrics=numbers)

    def finish_study(
        self,
        name: str,
        metrics: Mapping[str, float],
        files: Mapping[str, bytes],
        status: str,
    ) -> None:
        """Record summary and files; close the run."""
        with self._connection.border(f"finish study {name!r}"):
            run_id = self._study_run(name)
            self._batch(run_id, metrics=metrics)
            self._files(run_id, files, replace=True)
            self._end(run_id, status)

    def _recipe_run(self, name: str, recipe: Recipe, status: str) -> str:
        known = self._recipes.get((name, recipe.recipe_id))
        if known is not None:
            return known
        parent = self._study_run(name)
        tags = {names.PARENT: parent, names.RECIPE_ID: recipe.recipe_id}
        run = runs.find_run(self._connection, tags)
        if run is None:
            more = {
                names.KIND: "recipe",
                names.STUDY: name,
                names.VERSION: _version(),
                names.RECIPE: names.fitted(recipe.canonical, names.MAX_TAG),
            }
            more |= {names.ROLE: "baseline"} if status == "baseline" else {}
            run = self._connection.client.create_run(
                self._connection.experiment_id, tags=tags | more, run_name=recipe.recipe_id
            )
        self._recipes[name, recipe.recipe_id] = str(run.info.run_id)
        return str(run.info.run_id)

    def _study_run(self, name: str) -> str:
        if name not in self._studies:
            run = runs.find_run(self._connection, {names.KIND: "study", names.STUDY: name})
            if run is None:
                raise StorageError(f"MLflow at {self.uri}: study {name!r} was never started there")
            self._studies[name] = str(run.info.run_id)
        return self._studies[name]

    def _children(self, parent: str) -> list[Any]:
        return runs.search_all(self._connection, {names.PARENT: parent, names.KIND: "recipe"})

    def _batch(
        self,
        run_id: str,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Send what the run does not have yet. A parameter that is there can't be changed."""
        from mlflow.entities import Metric

        client = self._connection.client
        data = client.get_run(run_id).data
        runs.send_params(self._connection, run_id, params or {}, data.params)
        now = int(time.time() * 1000)
        numbers = [
            Metric(k, v, now, 0)
            for k, v in names.finite(metrics or {}).items()
            if data.metrics.get(k) != v
        ]
        for part in runs.parts(numbers, runs.METRICS_PER_CALL):
            client.log_batch(run_id, metrics=part)

    def _files(
        self,
        run_id: str,
        files: Mapping[str, bytes],
        folder: str | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """Upload files byte by byte as they are, in one call.

        A picture that is there with the same size is the same picture (its name is its key).
        """
        there: dict[str, int] = {}
        if not replace and files:
            listed = self._connection.client.list_artifacts(run_id, folder)
            there = {PurePosixPath(f.path).name: f.file_size for f in listed}
        new = {n: data for n, data in files.items() if there.get(n) != len(data)}
        if not new:
            return
        with tempfile.TemporaryDirectory(prefix="teststrip-") as place:
            for name, data in new.items():
                if PurePosixPath(name).name != name or name in (".", ".."):
                    raise StorageError(f"artifact {name!r}: a plain file name is accepted")
                (Path(place) / name).write_bytes(data)
            self._connection.client.log_artifacts(run_id, place, folder)

    def _end(self, run_id: str, status: str) -> None:
        client = self._connection.client
        run = client.get_run(run_id)
        if run.data.tags.get(names.STATUS) != status:
            client.set_tag(run_id, names.STATUS, status)
        if status == "baseline" and run.data.tags.get(names.ROLE) != "baseline":
            client.set_tag(run_id, names.ROLE, "baseline")
        word = _ENDED.get(status.lower(), "FINISHED")
        if run.info.status != word:
            client.set_terminated(run_id, word)


def _version() -> str:
    from teststrip import __version__

    return __version__
