"""The picture that all servers make: that of `teststrip.testing.instant`, in one call."""

import base64

from teststrip import Block, Recipe, Request
from teststrip.testing.instant import InstantStepper

RECIPE = Recipe(steps=1, scheduler="euler")


class Pictures:
    """One engine of a replica."""

    def __init__(self) -> None:
        self._stepper = InstantStepper(slots=1)

    def made(self, prompt: str, seed: int) -> dict[str, str]:
        """The PNG in base64, as the Images API gives it."""
        self._stepper.add_request(Request(recipe=RECIPE, block=Block(prompt=prompt, seed=seed)))
        (outcome,) = self._stepper.step()
        return {"b64_json": base64.b64encode(outcome.png).decode()}
