"""What the evidence needs to know of a study beside its table of images."""

from dataclasses import dataclass

from teststrip.errors import ConfigError

SPACE_FILLING = ("grid", "factorial", "sobol", "random")
ADAPTIVE = ("tpe", "gp", "nsga2")


@dataclass(frozen=True)
class StudyFacts:
    """One study, as its report names it.

    `objective`: the score's column. `varied`: settings and dummy parameters that differ, in the
    order to show them. `baseline`: `recipe_id` of the recipe to beat. `threshold`: a score that
    counts as good enough. `images_full_grid`: images that every recipe on every block would have
    cost. `seconds`: wall time. `peak_rss_mb`: peak memory of the process, MB. `design`: how
    recipes were chosen (`grid`, `sobol`, `tpe`, ...), empty where nobody said. `created`: ISO date.
    `delta`: a difference in score that is too small to care about. `held_out_prompts`: prompts kept
    for a confirmation, None where unknown. `source`: the study's file, as a reader may open it.
    `lower_is_better`: other scores of which less is better.
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
    delta: float | None = None
    held_out_prompts: int | None = None
    source: str = ""
    lower_is_better: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1:
            raise ConfigError(f"confidence {self.confidence}: 0.5 to below 1 is accepted")

    @property
    def is_space_filling(self) -> bool:
        """Recipes were chosen evenly and not by earlier scores: importance may be computed."""
        return self.design in SPACE_FILLING

    @property
    def is_adaptive(self) -> bool:
        """Recipes were chosen by the scores of earlier ones."""
        return self.design in ADAPTIVE

    @property
    def sign(self) -> int:
        """+1 where a higher score is better, else -1."""
        return 1 if self.higher_is_better else -1
