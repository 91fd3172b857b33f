"""An open model in the engine's thread, and whose pictures it has on board."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from teststrip.recipe import Recipe, Request
from teststrip.records import Outcome
from teststrip.serve.worker.events import Add
from teststrip.serve.worker.stepper import Stepper


@dataclass(eq=False)
class OpenModel:
    """An open stepper and whose pictures it has. Outcomes name requests, not tickets: the same
    request twice gives the same picture, so the first ticket takes the first outcome."""

    stepper: Stepper
    is_auto: bool  # opened without a precision of the recipe's
    tickets: dict[int, Add | None] = field(default_factory=dict)  # None: dropped, outcome comes
    waiting: dict[Request, deque[int]] = field(default_factory=dict)
    previewed: dict[int, float] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """What the worker's card tells of it (WorkerCard.models)."""
        own = self.stepper.default_recipe
        width, height = self.stepper.size(own)
        return {
            "fingerprint": self.stepper.fingerprint,
            "dtype": self.stepper.dtype,
            "defaults": own.model_dump(mode="json", exclude_defaults=True),
            "width": width,
            "height": height,
            "slots": self.stepper.slots,
        }

    def fits(self, recipe: Recipe) -> bool:
        """Can it make this recipe's pictures?"""
        own = self.stepper.default_recipe
        return (
            own.model == recipe.model
            and own.revision == recipe.revision
            and (recipe.dtype == self.stepper.dtype or (recipe.dtype is None and self.is_auto))
        )

    def board(self, add: Add) -> None:
        """Queue a picture. Raises what the stepper raises."""
        ticket = self.stepper.add_request(add.request)
        self.tickets[ticket] = add
        self.waiting.setdefault(add.request, deque()).append(ticket)

    def drop(self, ticket: int) -> None:
        """Nobody wants it; where it is being decoded its outcome still comes."""
        add = self.tickets[ticket]
        if self.stepper.cancel(ticket) and add is not None:
            self._forget(ticket, add.request)
        else:
            self.tickets[ticket] = None

    def take(self, outcome: Outcome) -> Add | None:
        """Whose outcome this is; None where nobody wants it any more."""
        line = self.waiting.get(outcome.request)
        if not line:
            return None
        add = self.tickets.get(line[0])
        self._forget(line[0], outcome.request)
        return add

    def _forget(self, ticket: int, request: Request) -> None:
        self.tickets.pop(ticket, None)
        self.previewed.pop(ticket, None)
        line = self.waiting[request]
        line.remove(ticket)
        if not line:
            del self.waiting[request]
