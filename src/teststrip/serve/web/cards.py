"""A job as the page shows it: its pictures, and one line that says how it stands."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request

from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.parts import Parts
from teststrip.serve.web.catalog import Catalog
from teststrip.serve.web.eta import Etas, Place
from teststrip.serve.web.feedback import thumbs

FROM, TEMPLATE, PRODUCT = "from", "template", "product"  # labels of jobs made by the page
PAGE = "page"
MOST_NAME = 60


@dataclass(frozen=True)
class Picture:
    """One of a job's pictures. `src`: finished, or a preview (data:), or "" where it is blank."""

    index: int
    seed: int
    src: str = ""
    is_made: bool = False
    thumb: int = 0
    file_name: str = ""


@dataclass(frozen=True)
class Card:
    """One job. `share` of its model calls done, 0 to 1; `asks_in_s`: when to look again."""

    record: JobRecord
    pictures: Sequence[Picture]
    says: str
    share: float
    width: int
    height: int
    asks_in_s: float

    @property
    def is_open(self) -> bool:
        """Does it still wait or run?"""
        return not self.record.is_ended

    @property
    def title(self) -> str:
        """What was typed."""
        return self.record.labels.get(PRODUCT) or self.record.prompt

    @property
    def settings(self) -> list[tuple[str, str]]:
        """The recipe, field by field, those that differ from the defaults."""
        fields = self.record.recipe.model_dump(mode="json", exclude_defaults=True)
        shown = {"scheduler": self.record.recipe.scheduler, "steps": self.record.recipe.steps}
        shown |= {"guidance": self.record.recipe.guidance} | fields
        return [(name.replace("_", " "), _words(value)) for name, value in shown.items()]


async def card(request: Request, record: JobRecord) -> Card:
    """The card of a job as it is now."""
    parts: Parts = request.app.state.parts
    etas: Etas = request.app.state.etas
    place = await etas.place(record)
    told = await thumbs(parts, record.key) if record.images else {}
    pictures = [await _picture(parts, record, k, told) for k in range(len(record.seeds))]
    width, height = await _size(request.app.state.catalog, record)
    total = max(1, record.calls_total)
    return Card(
        record=record,
        pictures=pictures if not record.is_ended else [p for p in pictures if p.is_made],
        says=await says(request, record, place),
        share=min(1.0, record.calls_done / total),
        width=width,
        height=height,
        asks_in_s=_asks_in_s(record, place),
    )


async def says(request: Request, record: JobRecord, place: Place) -> str:
    """How a job stands, in one line."""
    if record.state == "queued":
        has_worker = bool(await request.app.state.catalog.cards())
        return "Cancelled" if record.cancel_asked else _queued(record, place, has_worker)
    if record.state == "running":
        return _running(record, place)
    made, wanted = len(record.images), len(record.seeds)
    if record.state == "done":
        begun, ended = record.started or record.accepted, record.ended or record.accepted
        return f"{_count(made, 'picture')} in {_seconds(max(0.0, ended - begun))}"
    kept = f"; {made} of {wanted} finished" if made else ""
    return f"{record.state.capitalize()}{kept}"


def _queued(record: JobRecord, place: Place, has_worker: bool) -> str:
    where = "Next in line" if not place.position else f"{_count(place.position, 'job')} before"
    if not has_worker:
        return f"{where}. No worker is running; it starts with the first that comes"
    again = "; it is tried again" if record.attempt else ""
    return f"{where}{_about(place.eta_s)}{again}"


def _running(record: JobRecord, place: Place) -> str:
    if record.cancel_asked:
        return "Stopping at the next step"
    if not record.calls_done:
        return "Being made"
    return f"{round(100 * record.calls_done / record.calls_total)} %{_about(place.eta_s)}"


def file_name(record: JobRecord, seed: int) -> str:
    """What a downloaded picture is called: some of its prompt, and its seed."""
    words = record.labels.get(PRODUCT) or record.prompt
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:MOST_NAME].strip("-")
    return f"{slug or 'picture'}-{seed}.png"


async def _picture(parts: Parts, record: JobRecord, k: int, told: dict[int, int]) -> Picture:
    seed, name = record.seeds[k], file_name(record, record.seeds[k])
    if any(image.index == k for image in record.images):
        return Picture(k, seed, f"/api/jobs/{record.id}/images/{k}.png", True, told.get(k, 0), name)
    if record.state != "running":
        return Picture(k, seed)
    preview = await parts.state.preview(record.key, k)
    # within the page: one request for all of them, and none for a preview that is not there yet
    inline = f"data:image/webp;base64,{base64.b64encode(preview).decode()}" if preview else ""
    return Picture(k, seed, inline)


async def _size(catalog: Catalog, record: JobRecord) -> tuple[int, int]:
    """Width and height in px; a square where neither recipe nor model says."""
    told = (await catalog.models()).get(record.recipe.model, {})
    width = record.recipe.width or int(told.get("width") or 512)
    return width, record.recipe.height or int(told.get("height") or width)


def _asks_in_s(record: JobRecord, place: Place) -> float:
    if record.state == "running":
        return 0.35
    return min(5.0, max(0.5, (place.position or 0) / 4))


def _about(eta_s: float | None) -> str:
    return "" if eta_s is None else f", about {_seconds(max(1.0, round(eta_s)))} left"


def _seconds(value: float) -> str:
    if value < 9.95:
        return f"{value:.1f} s" if value % 1 else f"{value:.0f} s"
    if value < 90:
        return f"{value:.0f} s"
    if value < 5400:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.1f} h"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _words(value: object) -> str:
    if isinstance(value, list):  # LoRAs
        return ", ".join(f"{lora['path'].rsplit('/', 1)[-1]} x {lora['scale']:g}" for lora in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
