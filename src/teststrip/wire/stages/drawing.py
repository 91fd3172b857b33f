"""Pictures of a project, whose bytes depend on nothing but recipe, block and machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teststrip.errors import StudyError
from teststrip.recipe import Request
from teststrip.records import Failure, Generation
from teststrip.wire.bench import settings
from teststrip.wire.stages import Here

MOST_NAMED = 3


@dataclass(frozen=True)
class Drawn:
    """Pictures in the order of their requests, and the device they were computed on."""

    pictures: Mapping[Request, Generation]
    device: str


def draw(here: Here, requests: Sequence[Request]) -> Drawn:
    """Make each request's picture, in an engine that pads every forward to one size.

    Raises StudyError that names the requests that gave no picture; ModelError, ConfigError.
    """
    from teststrip.engine.device import find
    from teststrip.engine.pool import EnginePool

    wanted = list(dict.fromkeys(requests))
    made: dict[Request, Generation] = {}
    failed: list[Failure] = []
    pool = EnginePool(device=here.device, max_rows=settings().max_rows)
    try:
        here.progress("pictures", 0, len(wanted))
        for outcome in pool.generate(wanted):
            if isinstance(outcome, Failure):
                failed.append(outcome)
            else:
                made[outcome.request] = outcome
            here.progress("pictures", len(made) + len(failed), len(wanted))
    finally:
        pool.close()
    if failed:
        raise StudyError(_reasons(failed, len(wanted)))
    return Drawn({request: made[request] for request in wanted}, str(find(here.device)))


def _reasons(failed: Sequence[Failure], wanted: int) -> str:
    lines = [f"{len(failed)} of {wanted} pictures could not be made"]
    for failure in failed[:MOST_NAMED]:
        block = failure.request.block
        lines.append(f"  - {block.prompt!r}, seed {block.seed}: {failure.reason}")
    if len(failed) > MOST_NAMED:
        lines.append(f"  - and {len(failed) - MOST_NAMED} more")
    return "\n".join(lines)
