"""The training loop, read from top to bottom."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from teststrip.train import adapters, checkpoints, optimizers, rates
from teststrip.train.batches import Batches
from teststrip.train.config import TrainConfig
from teststrip.train.folder import RunFolder
from teststrip.train.guard import why_it_broke, why_it_stopped
from teststrip.train.lean import keep_freed_memory, make_lean
from teststrip.train.model import Trainable
from teststrip.train.processes import Processes
from teststrip.train.result import Event, OnEvent, Result, Stop
from teststrip.train.state import Progress
from teststrip.train.step import finish_gradient, micro_step

if TYPE_CHECKING:
    from teststrip.train.data.examples import Examples
    from teststrip.train.measure.measures import Measures


def train(  # noqa: PLR0912, PLR0915 - one loop, read from top to bottom
    config: TrainConfig,
    model: Trainable,
    examples: "Examples",
    folder: RunFolder,
    measures: "Measures | None",
    *,
    held_out: "Examples | None" = None,
    lineage: Mapping[str, Any] | None = None,
    processes: Processes | None = None,
    on_event: OnEvent | None = None,
    should_stop: Stop | None = None,
) -> Result:
    """Train until `config.steps`, from the newest checkpoint that can be resumed.

    `measures` is None in processes that do not write. `should_stop` is asked after each step; a
    run that stops writes a checkpoint first, as does one that ends. `lineage` goes into each
    checkpoint.json. The model is left with the trained layers in it. Raises StorageError where the
    disk refuses; a run whose numbers break ends with state `failed`, not with an error.
    """
    begun = time.perf_counter()
    processes = processes or Processes(str(model.device))
    tell = on_event or (lambda event: None)
    weights = adapters.attach(model, config.lora, config.seed)
    _prepare(config, model)
    now = Progress(config, weights)
    newest = next((c for c in reversed(checkpoints.checkpoints(folder.path)) if c.has_state), None)
    last: dict[str, float] = {}
    if newest is not None:
        now.put(checkpoints.read_state(newest))
        last = {k: v for k in ("loss", "val_loss") if (v := newest.meta.get(k)) is not None}
    if measures is not None:
        measures.start(model, examples, held_out, step=now.step)
        if newest is not None and _is_due(config, newest.step, config.every.checkpoint):
            measures.checkpoint(newest)  # does what is missing, if it was killed meanwhile
    processes.wait()
    batches = Batches(examples.shapes, examples.is_class, config.batch, config.seed)
    why, state = "", "finished"
    facts = torch.zeros(3, device=model.device)
    now.remember()
    clock = _Clock(config.batch * config.accumulate * processes.count)

    while now.step < config.steps:
        factor = rates.factor(config.rate, now.step, config.steps, config.optimizer.lr)
        lr = optimizers.set_rate(now.optimizer, factor * now.guard.rate)

        facts.zero_()
        for part in range(config.accumulate):
            number = (now.step * config.accumulate + part) * processes.count + processes.rank
            loss = micro_step(config, model, examples, batches.at(number), number)
            (loss * (now.guard.scale / config.accumulate)).backward()
            facts[0] += loss.detach() / config.accumulate
            for each in weights:
                each.gather_grads()

        facts[1] = finish_gradient(weights, processes, now.guard.scale)
        facts[2] = float(processes.writes and should_stop is not None and should_stop())
        processes.mean_(facts)
        mean_loss, norm, asked = facts.tolist()  # the one place where the host waits

        verdict = now.guard.look(mean_loss, norm)
        if verdict == "go":
            if config.clip is not None and norm > config.clip:
                for each in weights:
                    each.flat.grad.mul_(config.clip / (norm + 1e-6))
            now.optimizer.step()
            for each in weights:
                each.publish()
            if now.ema:
                now.ema.update()
            now.window = [now.window[0] + mean_loss, now.window[1] + 1]
        for each in weights:
            each.flat.grad.zero_()
        if verdict == "roll back":
            now.go_back()
            if measures is not None:
                measures.rewind(now.step)
            text = f"step {now.step}: went back to here with half the learning rate"
            tell(Event("rolled_back", now.step, config.steps, {}, text))
            continue
        if verdict == "stop":
            state, why = "failed", why_it_stopped(now.step, lr, mean_loss, norm)
            break
        now.step += 1
        clock.step()

        last |= {"loss": mean_loss, "lr": lr, "grad_norm": norm}
        tell(Event("step", now.step, config.steps, dict(last)))
        if _is_due(config, now.step, config.every.log):
            if measures is not None:
                measures.log(now.step, _numbers(now, lr, norm, clock))
            now.window = [0.0, 0]
        saves = _is_due(config, now.step, config.every.checkpoint)
        found: float | None = None
        if saves or _is_due(config, now.step, config.every.held_out):
            with clock.stopped(), now.averaged():
                found = measures.held_out(now.step) if measures is not None else None
            if processes.told(found is not None and not now.guard.is_sound(found)):
                state, why = "failed", why_it_broke(now.step, lr, found or math.nan)
                break
            if found is not None:
                last["val_loss"] = found
                tell(Event("held_out", now.step, config.steps, dict(last)))
            if verdict == "go":
                now.remember()
            # A search decides on what was just measured, so it is asked once more.
            asked += float(processes.told(should_stop is not None and should_stop()))
        stops = asked > 0 and now.step < config.steps
        if (saves or stops) and measures is not None:
            with clock.stopped():
                meta = _meta(config, now.step, processes, lineage or {}, last, found)
                made = _save(config, now, folder, meta)
                if saves:
                    measures.checkpoint(made)
            tell(Event("checkpoint", now.step, config.steps, dict(last), str(made.folder)))
        if saves or stops:
            processes.wait()
        if stops:
            state, why = "stopped", f"stopped at step {now.step} of {config.steps}"
            break

    tell(Event("end", now.step, config.steps, dict(last), why))
    made_all = checkpoints.checkpoints(folder.path)
    return Result(
        name=config.name,
        folder=folder.path,
        state=state,
        why=why,
        steps=now.step,
        samples_seen=_samples_seen(config, now.step, processes),
        loss=last.get("loss"),
        val_loss=last.get("val_loss"),
        skipped=now.guard.skipped,
        checkpoint=made_all[-1].folder if made_all else None,
        seconds=round(time.perf_counter() - begun, 3),
    )


def _prepare(config: TrainConfig, model: Trainable) -> None:
    """Train mode where there is something to train, and what makes it quick or small."""
    if model.device.type == "cpu":
        keep_freed_memory()
    for each in (model.unet, model.text_encoder):
        make_lean(each)
    model.unet.train()
    if config.lora.text_encoder:
        model.text_encoder.train()
    if config.gradient_checkpointing:
        model.unet.enable_gradient_checkpointing()
        if config.lora.text_encoder:
            model.text_encoder.activation_checkpointing_enable()


def _is_due(config: TrainConfig, step: int, every: int) -> bool:
    return step % every == 0 or step == config.steps


def _samples_seen(config: TrainConfig, step: int, processes: Processes) -> int:
    return step * config.batch * config.accumulate * processes.count


def _numbers(now: Progress, lr: float, norm: float, clock: "_Clock") -> dict[str, float]:
    """What is logged: the mean loss since the last time, and how things stand."""
    total, count = now.window
    numbers = {
        "loss": total / count if count else float("nan"),
        "lr": lr,
        "grad_norm": norm,
        "images_per_s": clock.images_per_s(),
    }
    return numbers | ({"skipped": float(now.guard.skipped)} if now.guard.skipped else {})


def _meta(  # noqa: PLR0917 - all of a record
    config: TrainConfig,
    step: int,
    processes: Processes,
    lineage: Mapping[str, Any],
    last: Mapping[str, float],
    val_loss: float | None,
) -> dict[str, Any]:
    """checkpoint.json: what these weights came from."""
    return dict(lineage) | {
        "samples_seen": _samples_seen(config, step, processes),
        "kind": config.kind,
        "trigger": config.trigger,
        "scale": 1.0,
        "loss": last.get("loss"),
        "val_loss": val_loss,
        "config": config.model_dump(mode="json"),
    }


def _save(
    config: TrainConfig, now: Progress, folder: RunFolder, meta: Mapping[str, Any]
) -> checkpoints.Checkpoint:
    with now.averaged():
        tensors, adapter = adapters.exported(list(now.weights))
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    return checkpoints.write(
        folder.path, now.step, tensors, adapter, meta, now.take(), config.every.keep
    )


class _Clock:
    """Pictures per second of training alone: measuring and saving do not count."""

    def __init__(self, images: int) -> None:
        self._images = images
        self._steps = 0
        self._since = time.perf_counter()

    def step(self) -> None:
        """One more optimizer step."""
        self._steps += 1

    def images_per_s(self) -> float:
        """Since the last time it was asked."""
        now = time.perf_counter()
        speed = self._steps * self._images / max(now - self._since, 1e-9)
        self._since, self._steps = now, 0
        return speed

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """What happens inside takes no time."""
        begun = time.perf_counter()
        yield
        self._since += time.perf_counter() - begun
