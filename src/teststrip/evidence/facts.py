"""What the evidence needs to know of a study beside its table of images."""

from dataclasses import dataclass

from teststrip.errors import ConfigError


@dataclass(frozen=True)
class StudyFacts:
    """One study, as its report names it.

    `objective`: the score's column. `varied`: settings and dummy parameters that differ, in the
    order to show them. `baseline`: `recipe_id` of the recipe to beat. `threshold`: a score that
    counts as good enough. `images_full_grid`: images that every recipe on every block would have
    cost. `seconds`: wall time. `peak_rss_mb`: peak memory of the process, MB. `design`: how
    recipes were chosen (`grid`, `sobol`, `tpe`, ...). `created`: ISO date.
    """

    name: str
    objective: str
    higher_is_better: bool = True
    varied: tuple[str, ...] = ()
    baseline: str | None = None
    threshold: float | None = None
    seconds: float | None = None
    peak_rss_mb: float | None = None
    images_full_grid: int | None = None
    command: str = ""
    design: str = ""
    model: str = ""
    created: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1:
            raise ConfigError(f"confidence {self.confidence}: 0.5 to below 1 is accepted")

    @property
    def sign(self) -> int:
        """+1 where a higher score is better, else -1."""
        return 1 if self.higher_is_better else -1
