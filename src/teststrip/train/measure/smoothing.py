"""A loss curve that can be read: an exponential moving mean whose weights sum to one."""

DECAY = 0.99


class Smooth:
    """Exponential moving mean with bias correction (Kingma and Ba 2015, arXiv 1412.6980).

    `decay` is for one step; a value that stands for several steps counts as so many, so that a
    curve does not depend on how often it is logged. A constant stays that constant from the first
    value on. `classic` is the curve without correction, which starts at 0 and climbs.
    """

    def __init__(self, decay: float = DECAY) -> None:
        self._decay = decay
        self._total = 0.0
        self._weight = 0.0

    def update(self, value: float, steps: int = 1) -> float:
        """Take in the mean loss of the last `steps` steps; returns `value` of the curve."""
        kept = self._decay ** max(steps, 1)
        self._total = kept * self._total + (1 - kept) * value
        self._weight = kept * self._weight + (1 - kept)
        return self.value

    @property
    def value(self) -> float:
        """The corrected mean; NaN before the first value."""
        return self._total / self._weight if self._weight else float("nan")

    @property
    def classic(self) -> float:
        """The mean without correction, as many trainers draw it."""
        return self._total
