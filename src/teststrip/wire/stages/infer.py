"""Infer: pictures with what was learned beside the same without it, scored on prompts of their own.

A gallery for people (infer.prompt) and a check (data/prompts.txt): the check's prompts took no
part in training or choosing, so what they say is evidence. Both arms have the same prompts, the
same seeds and the same settings.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from teststrip.config import parse
from teststrip.errors import ConfigError, StudyError
from teststrip.files import write_atomic
from teststrip.project.layout import MADE, PICTURES, PROMPTS, REFERENCE, SCORES, SHEET
from teststrip.project.metrics import gain_of, mean_of, rounded, write_metrics
from teststrip.project.project import Project
from teststrip.project.scores import CHECK, GALLERY, Row, Scores
from teststrip.recipe import Block, Request
from teststrip.wire.stages import Here, Made, references
from teststrip.wire.stages.canonical import inside
from teststrip.wire.stages.drawing import Drawn, draw
from teststrip.wire.stages.gallery import sheet, verdict
from teststrip.wire.stages.learned import Learned, read

if TYPE_CHECKING:
    from teststrip.protocols import Scorer
    from teststrip.records import Generation

METRICS = "metrics/infer.json"
CHECK_SEED = 20_000  # of the check's pictures, whatever infer_seed: the evidence keeps its blocks
BATCH = 16
MOST_NAMED = 5


def run(project: Project, here: Here) -> Made:
    """Draw, score, and write pictures, table, sheet and numbers.

    Raises ConfigError for a check prompt that is known from training or choosing, StudyError where
    a picture cannot be made or a score has no number.
    """
    from teststrip.engine.device import same_threads

    with inside(project) as project_here:
        same_threads()
        return _run(project_here, here)


def _run(project: Project, here: Here) -> Made:
    from teststrip.study.scoring import all_columns

    infer = project.params.infer
    learned = read(project).drawn_by(infer)
    gallery = [
        Block(prompt=infer.prompt, seed=infer.infer_seed + k) for k in range(infer.number_images)
    ]
    sets = {GALLERY: gallery, CHECK: check_blocks(project, learned.seen)}
    scorers = _scorers(project)
    columns = all_columns(scorers)
    arms = {MADE: learned.made, REFERENCE: learned.reference}
    wanted = [
        Request(recipe=recipe, block=block)
        for recipe in arms.values()
        for blocks in sets.values()
        for block in blocks
    ]
    drawn = draw(here, wanted)
    scores = _judged(list(drawn.pictures.values()), scorers, columns, here)
    rows = [
        _row(arm, name, Request(recipe=recipe, block=block), scores)
        for arm, recipe in arms.items()
        for name, blocks in sets.items()
        for block in blocks
    ]
    table = Scores(tuple(columns), tuple(rows))
    numbers = metrics(table, columns)
    with project.replacing(PICTURES) as folder:
        for arm, recipe in arms.items():
            for block in {block for blocks in sets.values() for block in blocks}:
                picture = drawn.pictures[Request(recipe=recipe, block=block)]
                write_atomic(folder / arm / _file(block), picture.png)
    table.write(project.path(SCORES))
    write_atomic(project.path(SHEET), sheet(learned, gallery, drawn, table, numbers))
    write_metrics(project.path(METRICS), numbers)
    return Made(
        resolved=_resolved(learned, drawn),
        model=_model(learned, drawn),
        device=drawn.device,
        said=f"{learned.name}: {verdict(numbers, table.columns[0])}",
    )


def check_blocks(project: Project, seen: Mapping[str, str]) -> list[Block]:
    """Each prompt of data/prompts.txt with each of its seeds.

    `seen`: prompt id -> how it took part in the choice. Raises ConfigError that names every prompt
    that did, since a score on it would flatter.
    """
    from teststrip.study.prompts import Prompts, read_prompts

    items = parse(Prompts, {"items": read_prompts(project.path(PROMPTS))}, PROMPTS).items
    seeds = range(CHECK_SEED, CHECK_SEED + project.params.infer.check_seeds)
    blocks = [Block(prompt=item.text, seed=seed) for item in items for seed in seeds]
    known = {b.prompt: seen[b.prompt_id] for b in blocks if b.prompt_id in seen}
    if known:
        raise ConfigError(
            f"{PROMPTS}: its prompts must be new to what they judge; replace these",
            [f"{prompt!r}: {how}" for prompt, how in known.items()],
        )
    return blocks


def metrics(table: Scores, columns: Mapping[str, bool]) -> dict[str, Any]:
    """metrics/infer.json: each arm's scores on the check, and the paired gain.

    `columns`: name -> is higher better; kept as 1 or 0, for whoever compares two revisions.
    """
    arms = {arm: {c: mean_of(table.of(arm, c)) for c in columns} for arm in (MADE, REFERENCE)}
    gain = {
        c: gain_of(table.of(MADE, c), table.of(REFERENCE, c), higher_is_better=higher)
        for c, higher in columns.items()
    }
    return arms | {"gain": gain, "higher_is_better": {c: int(up) for c, up in columns.items()}}


def _scorers(project: Project) -> "list[Scorer]":
    from teststrip.study.config import Named
    from teststrip.study.parts import scorers_named

    names = dict.fromkeys(project.params.infer.scorers)
    named = [Named(name=name, options=references.options(project, name)) for name in names]
    return scorers_named(named, project.root)


def _judged(
    pictures: "Sequence[Generation]",
    scorers: "Sequence[Scorer]",
    columns: Mapping[str, bool],
    here: Here,
) -> dict[Request, dict[str, float]]:
    """Every picture's scores. Raises StudyError where one has none: half a table is no evidence."""
    import math

    from teststrip.study.scoring import ask

    scores: dict[Request, dict[str, float]] = {one.request: {} for one in pictures}
    reasons = []
    for first in range(0, len(pictures), BATCH):
        here.progress("scores", first, len(pictures))
        batch = pictures[first : first + BATCH]
        for scorer in scorers:
            for one, (values, why) in zip(batch, ask(scorer, batch), strict=True):
                scores[one.request] |= {
                    c: rounded(v) for c, v in values.items() if math.isfinite(v)
                }
                reasons += [f"{one.request.block.prompt!r}: {why}"] if why else []
    here.progress("scores", len(pictures), len(pictures))
    if reasons:
        more = f"\n  - and {len(reasons) - MOST_NAMED} more" if len(reasons) > MOST_NAMED else ""
        raise StudyError(
            f"infer: {len(reasons)} scores are missing; mend the scorer or take it out of "
            "infer.scorers\n" + "\n".join(f"  - {why}" for why in reasons[:MOST_NAMED]) + more
        )
    return {request: {c: found[c] for c in columns} for request, found in scores.items()}


def _row(
    arm: str, name: str, request: Request, scores: Mapping[Request, Mapping[str, float]]
) -> Row:
    block = request.block
    return Row(
        arm=arm,
        set=name,
        prompt_id=block.prompt_id,
        prompt=block.prompt,
        seed=block.seed,
        png=f"{PICTURES}/{arm}/{_file(block)}",
        scores=scores[request],
    )


def _file(block: Block) -> str:
    return f"{block.prompt_id}-{block.seed}.png"


def _resolved(learned: Learned, drawn: Drawn) -> dict[str, Any]:
    first = next(iter(drawn.pictures.values()))
    return {
        "made": learned.made.model_dump(mode="json", exclude_defaults=True),
        "reference": learned.reference.model_dump(mode="json", exclude_defaults=True),
        "dtype": first.facts["dtype"],
        "rows": first.facts["rows"],
        "check_seed": CHECK_SEED,
    }


def _model(learned: Learned, drawn: Drawn) -> dict[str, Any]:
    """Both recipes' models, where they are two; the fingerprint is of weights and precision."""
    found = {}
    for arm, recipe in ((REFERENCE, learned.reference), (MADE, learned.made)):
        facts = next(g.facts for r, g in drawn.pictures.items() if r.recipe == recipe)
        found[arm] = {
            "name": recipe.model,
            "revision": recipe.revision,
            "fingerprint": facts["fingerprint"],
        }
    return found[REFERENCE] | {MADE: found[MADE]}
