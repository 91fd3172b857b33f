"""A training run from its config: pictures, model, caches, measures and loop put together."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from teststrip.engine.pool import EnginePool
from teststrip.errors import ConfigError, StorageError, StudyError
from teststrip.protocols import Generator
from teststrip.settings import Settings
from teststrip.study.interrupt import StopSwitch, stop_switch
from teststrip.train.claim import claim
from teststrip.train.config import TrainConfig
from teststrip.train.data.classes import class_pictures
from teststrip.train.data.examples import Examples
from teststrip.train.data.picture import Picture
from teststrip.train.data.prepare import Prepared, prepare
from teststrip.train.folder import RunFolder
from teststrip.train.lineage import lineage_of
from teststrip.train.loop import train
from teststrip.train.measure.measures import Measures
from teststrip.train.measure.opening import open_measures
from teststrip.train.model import StableDiffusionBase, open_model
from teststrip.train.processes import Processes
from teststrip.train.result import Event, OnEvent, Result, Stop


class _Stopped(Exception):  # noqa: N818 - no error
    """Asked to stop before the first step."""


def start(
    config: TrainConfig,
    home: Path,
    *,
    track: bool = True,
    device: str = "auto",
    generator: Generator | None = None,
    parent: str | None = None,
    text: str | None = None,
    on_event: OnEvent | None = None,
    should_stop: Stop | None = None,
) -> Result:
    """Train `config` in `home`/runs/<name>; goes on where an earlier process stopped.

    A run that is finished is left alone and its result returned. `generator` makes class pictures
    and validation images (a local engine of our own where none is given). `parent`: MLflow run of
    the search whose trial this is; `text`: the file it came from. `should_stop` is asked after
    each step, as are Ctrl-C, SIGTERM and the folder's stop file. A run whose numbers break ends
    with state `failed`. Raises ConfigError where the name is taken by another config or pictures
    are wrong, ModelError, StudyError where another process holds the run, StorageError.
    """
    processes = Processes(device)
    folder = RunFolder.of(home, config.name)
    with stop_switch(folder.stop) as switch:
        if not processes.writes:
            done = processes.told(None)
            return done or _Run(config, home, folder, processes, switch).go(None, None)
        with folder.locked():
            done = processes.told(claim(config, folder, text))
            if done is not None:
                return done
            maker = generator or EnginePool(device=device, max_rows=_rows(config))
            run = _Run(config, home, folder, processes, switch, on_event, should_stop)
            measures: Measures | None = None
            try:
                measures = open_measures(
                    config, folder.path, home, generator=maker, track=track, parent=parent
                )
                result = run.go(measures, maker)
                folder.write(result=result.as_record())
                measures.finish(result.state, result.why)
            except BaseException as exc:
                state, why = _ending(exc)
                with suppress(StorageError):  # the disk may be what failed
                    folder.write(state=state, why=why)
                    if measures is not None:
                        measures.finish(state, why)
                if isinstance(exc, _Stopped):
                    raise StudyError("stopped before the first step; resume it") from None
                raise
            finally:
                if measures is not None:
                    measures.close()
                if generator is None:
                    maker.close()
            return result


class _Run:
    """One process's part of a run."""

    def __init__(  # noqa: PLR0917 - what `start` knows
        self,
        config: TrainConfig,
        home: Path,
        folder: RunFolder,
        processes: Processes,
        switch: StopSwitch,
        on_event: OnEvent | None = None,
        should_stop: Stop | None = None,
    ) -> None:
        self.config = config
        self.home = home
        self.folder = folder
        self.processes = processes
        self.switch = switch
        self.tell = on_event or (lambda event: None)
        self.should_stop = should_stop
        self.measures: Measures | None = None

    def go(self, measures: Measures | None, maker: Generator | None) -> Result:
        """Prepare, fill the caches, train."""
        config, processes = self.config, self.processes
        self.measures = measures
        prepared = self._prepare(maker)
        model = open_model(config, str(processes.device))
        caches = self.home / "cache"
        examples = Examples((*prepared.train, *prepared.classes), config, model, caches)
        held_out = Examples(prepared.held_out, _plain(config), model, caches)
        lineage = lineage_of(config, model, prepared.dataset_hash)
        if processes.writes:
            self._check_base(lineage["base"])
            self.folder.write(**lineage)
            for each in (examples, held_out):
                each.fill(lambda done, total: self._busy("caching", done, total))
        processes.wait()
        self._park(model)
        result = train(
            config,
            model,
            examples,
            self.folder,
            measures,
            held_out=held_out if len(held_out) else None,
            lineage=lineage,
            processes=processes,
            on_event=self.tell,
            should_stop=self._asked,
        )
        if result.state == "stopped" and self.switch.asked:
            return result.changed(why=f"{result.why} ({self.switch.asked})")
        return result

    def _prepare(self, maker: Generator | None) -> Prepared:
        """The first process looks, makes and writes; the others are told."""
        config, processes = self.config, self.processes

        def classes() -> Sequence[Picture]:
            if maker is None:
                return ()
            folder = self.home / "cache" / "classes"
            return class_pictures(config, maker, folder, partial(self._busy, "class pictures"))

        prepared = None
        if processes.writes:
            looking = partial(self._busy, "looking at pictures")
            prepared = prepare(config, self.folder.path, classes, looking)
        told: Prepared = processes.told(prepared)
        return told

    def _busy(self, what: str, done: int, total: int) -> None:
        self.tell(Event("prepare", done, total, {}, what))
        if self.measures is not None:
            self.measures.doing(f"{what} {done} of {total}")
        if self._asked():
            raise _Stopped

    def _asked(self) -> bool:
        return self.switch() or (self.should_stop is not None and self.should_stop())

    def _check_base(self, base: dict[str, Any]) -> None:
        """A run goes on with the model it began with."""
        kept = self.folder.read().get("base", {}).get("fingerprint")
        if kept is not None and kept != base["fingerprint"]:
            raise ConfigError(
                f"training run {self.folder.name!r} was begun on a base model {base['model']} with "
                f"other weights (fingerprint {kept}, now {base['fingerprint']}); give the run "
                "another name"
            )

    def _park(self, model: StableDiffusionBase) -> None:
        cache, lora = self.config.cache, self.config.lora
        model.park(vae=cache.latents, text_encoder=cache.texts and not lora.text_encoder)


def _rows(config: TrainConfig) -> int:
    """Rows of a forward: an engine of fixed pictures fills up to this many, needed or not."""
    validation, subject = config.validation, config.subject
    images = len(validation.prompts) * len(validation.seeds)
    images = max(images, subject.class_pictures if subject and subject.class_prompt else 0)
    return min(Settings().max_rows, max(2, 2 * images))


def _plain(config: TrainConfig) -> TrainConfig:
    """How held-out pictures are read: only the centre, no flip, every caption."""
    data = config.data.model_copy(update={"crops": 1, "flip": False})
    loss = config.loss.model_copy(update={"caption_dropout": 0.0})
    return config.model_copy(update={"data": data, "loss": loss})


def _ending(exc: BaseException) -> tuple[str, str]:
    if isinstance(exc, _Stopped | KeyboardInterrupt):
        return "stopped", "stopped by the user"
    return "failed", str(exc) or type(exc).__name__
