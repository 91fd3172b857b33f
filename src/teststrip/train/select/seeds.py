"""Does a gain hold beyond the few seeds that all prompts share?

Every prompt is shown with the same two or three seeds. A checkpoint that happens to take well to
one of them looks good at every prompt, and a test by prompt alone does not see it: with a seed x
checkpoint effect as large as prompt x checkpoint, 12 prompts and 2 seeds, it gave 19 % false alarms
for 5 % promised. So prompts and seeds are both taken as drawn: the quasi-F test of Clark (1973,
"The language-as-fixed-effect fallacy") with Satterthwaite's degrees of freedom. 7 % are left there,
and 1 % with 4 seeds, for two seeds are few to know a spread by.
"""

import numpy as np

from teststrip.evidence.grid import Floats, Grid


def p_beyond_seeds(grid: Grid, step: str, base: str) -> float:
    """One-sided p of "the gain of `step` over `base` is not above 0" over prompts and seeds.

    1.0 with one seed, or fewer than two prompts that were shown with every seed.
    """
    i, j = grid.recipes.index(step), grid.recipes.index(base)
    gain = _by_prompt_and_seed(grid, grid.sign * (grid.values[i] - grid.values[j]))
    return crossed_p(gain)


def crossed_p(gain: Floats) -> float:
    """The same of a table [P prompts, S seeds] without holes."""
    from scipy import stats

    prompts, seeds = gain.shape
    if prompts < 2 or seeds < 2:
        return 1.0
    mean = float(gain.mean())
    of_prompt, of_seed = gain.mean(axis=1) - mean, gain.mean(axis=0) - mean
    rest = gain - mean - of_prompt[:, None] - of_seed
    free = np.array([prompts - 1, seeds - 1, (prompts - 1) * (seeds - 1)])
    sums = [seeds * (of_prompt**2).sum(), prompts * (of_seed**2).sum(), (rest**2).sum()]
    by_prompt, by_seed, by_chance = np.array(sums) / free
    error = by_prompt + by_seed - by_chance
    weights = (by_prompt**2, by_seed**2, by_chance**2)
    if error < max(by_prompt, by_seed):  # chance took more than it can have: it is left in
        error, weights = by_prompt + by_seed, (by_prompt**2, by_seed**2, 0.0)
    if error <= 1e-24 * max(mean * mean, 1e-300):
        return 1.0
    degrees = error**2 / float((np.array(weights) / free).sum())
    return float(stats.t.sf(mean / (error / gain.size) ** 0.5, degrees))


def _by_prompt_and_seed(grid: Grid, values: Floats) -> Floats:
    """[B] -> [P, S]: the prompts that have every seed."""
    seeds = sorted({seed for _, seed in grid.blocks})
    table = np.full((len(grid.prompt_ids), len(seeds)), np.nan)
    for (_, seed), prompt, value in zip(grid.blocks, grid.prompt_index, values, strict=True):
        table[prompt, seeds.index(seed)] = value
    whole: Floats = table[np.isfinite(table).all(axis=1)]
    return whole
