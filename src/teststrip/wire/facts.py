"""What a report needs to know of a study beside its table."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import StudyError

if TYPE_CHECKING:
    from teststrip.evidence.facts import StudyFacts
    from teststrip.study import Study


def facts_of(study: "Study") -> "StudyFacts":
    """Facts of a study that came to its end. Raises StudyError where it has not."""
    from teststrip.evidence.facts import StudyFacts

    result = study.result
    if result is None:
        name = study.config.name
        raise StudyError(f"study {name!r} has no result yet; teststrip study resume {name}")
    record: dict[str, Any] = study.folder.read()
    source = Path(record.get("source") or "study.yaml").name
    searched = dict.fromkeys([*study.config.space, *study.config.baseline])
    return StudyFacts(
        name=result.name,
        objective=result.objective,
        higher_is_better=result.higher_is_better,
        varied=tuple(searched),
        baseline=result.baseline.recipe_id,
        threshold=study.config.threshold,
        seconds=result.seconds,
        peak_rss_mb=result.peak_rss_mb,
        images_full_grid=result.images_full_grid,
        command=f"teststrip study run {source}",
        design=study.config.design.kind,
        model=str(result.best.model),
        created=str(record.get("created", ""))[:10],
        held_out_prompts=len(study.config.prompts.split()[1]),
        source=source,
        lower_is_better=tuple(
            column
            for column, higher in record.get("higher_is_better", {}).items()
            if not higher and column != result.objective
        ),
        versions=tuple(sorted(record.get("versions", {}).items())),
    )
