"""Which cells of the study there are: made, failed, stopped early. None is averaged away."""

from dataclasses import dataclass

from teststrip.evidence.grid import Grid


@dataclass(frozen=True)
class Coverage:
    """The cells recipes x blocks of the search.

    `scored` + `failed` + `not_made` = `cells`; `not_made` were stopped early by the race or never
    asked for. `common_blocks`: blocks that every usable recipe was shown. `unusable`: recipes that
    failed on more than a quarter of their images and are not ranked. `is_ragged`: recipes were
    shown different blocks in another way than a race does (which shows each the first n blocks).
    """

    cells: int
    scored: int
    failed: int
    not_made: int
    recipes: int
    blocks: int
    prompts: int
    seeds_per_prompt: tuple[int, int]
    common_blocks: int
    unusable: tuple[str, ...]
    is_ragged: bool


def coverage(grid: Grid) -> Coverage:
    """Count the cells."""
    tried, have = grid.tried, grid.have
    per_prompt = [int((grid.prompt_index == p).sum()) for p in range(len(grid.prompt_ids))]
    order = tried[tried.sum(axis=1).argsort()]
    nested = bool((order[:-1] <= order[1:]).all()) if len(order) > 1 else True
    return Coverage(
        cells=tried.size,
        scored=int(have.sum()),
        failed=int((tried & ~have).sum()),
        not_made=int((~tried).sum()),
        recipes=len(grid.recipes),
        blocks=len(grid.blocks),
        prompts=len(grid.prompt_ids),
        seeds_per_prompt=(min(per_prompt), max(per_prompt)),
        common_blocks=int(tried[grid.usable].all(axis=0).sum()) if grid.usable.any() else 0,
        unusable=tuple(r for r, ok in zip(grid.recipes, grid.usable, strict=True) if not ok),
        is_ragged=not nested,
    )
