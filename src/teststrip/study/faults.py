"""Faults across the fields of a study, found on whatever parts of it are sound by themselves."""

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from teststrip.config import faults_of
from teststrip.recipe import Recipe
from teststrip.study import adapters
from teststrip.study.constraints import Constraint
from teststrip.study.space import DUMMY, Param, Space

GRID_LIMIT = 20_000
ONE_OBJECTIVE = ("posterior", "frace", "wilcoxon")


def cross_faults(parts: Mapping[str, Any]) -> list[str]:
    """One line for each fault; a check whose parts are missing or faulty is left out."""
    checks = (
        (_space_names, ("space", "recipe")),
        (_space_values, ("space",)),
        (adapters.faults, ("space", "recipe")),
        (_conditions, ("space",)),
        (_baseline, ("recipe", "baseline")),
        (_constraints, ("constraints",)),
        (_objectives, ("objectives", "scorers")),
        (_design, ("design", "space")),
        (_race, ("race", "prompts", "seeds")),
        (_race_objectives, ("race", "objectives")),
    )
    faults: list[str] = []
    for check, needs in checks:
        if all(parts.get(need) is not None for need in needs):
            faults += check(*(parts[need] for need in needs))
    return faults


def constraint_names() -> list[str]:
    """The names that a constraint may use."""
    return [*(f for f in Recipe.model_fields if f != "loras"), "model_calls"]


def _space_names(space: Mapping[str, Param], recipe: Mapping[str, Any]) -> Iterator[str]:
    for name, param in space.items():
        known = name in Recipe.model_fields or name in adapters.SWEPT
        if not known and not name.startswith(DUMMY):
            yield f"space.{name}: {_unknown(name)}; or start a dummy's name with {DUMMY}"
        if name in recipe and not param.when:
            yield (
                f"space.{name}: also fixed under `recipe`; keep one of the two "
                "(both make sense only with `when`)"
            )


def _space_values(space: Mapping[str, Param]) -> Iterator[str]:
    for name, param in space.items():
        if name in Recipe.model_fields:
            values = param.choice if param.choice is not None else param.ends
            for value in values:
                yield from (f"space.{name}: {line}" for line in _field_faults(name, value))


def _field_faults(name: str, value: Any) -> list[str]:
    """Faults of one recipe field by itself: those that no noise scheduler would cure."""
    for beside in ({}, {"scheduler": "ddim"}):
        try:
            Recipe.model_validate(beside | {name: value})
        except ValidationError as exc:
            own = [f for f in exc.errors() if f["loc"] and f["loc"][0] == name]
        else:
            return []
        if not own:
            return []
    return [f"{f['msg'].removeprefix('Value error, ')} (got {value!r})" for f in own]


def _conditions(space: Mapping[str, Param]) -> Iterator[str]:
    for name, param in space.items():
        for other, values in param.when.items():
            if other not in space:
                yield f"space.{name}.when: {other!r} is not searched; known: {', '.join(space)}"
            else:
                for value in values:
                    if not space[other].holds(value):
                        yield f"space.{name}.when: {other} never is {value!r}"
    try:
        Space(space)
    except ValueError as exc:
        yield f"space: {exc}"


def _baseline(recipe: Mapping[str, Any], baseline: Mapping[str, Any]) -> Iterator[str]:
    unknown = [("recipe", n) for n in recipe if n not in Recipe.model_fields]
    unknown += [("baseline", n) for n in baseline if n not in Recipe.model_fields]
    for part, name in unknown:
        yield f"{part}.{name}: {_unknown(name)}"
    known = {n: v for n, v in (dict(recipe) | dict(baseline)).items() if n in Recipe.model_fields}
    try:
        Recipe.model_validate(known)
    except ValidationError as exc:
        for line in faults_of(exc):
            field = line.partition(":")[0].partition(".")[0]
            part = "recipe" if field in recipe and field not in baseline else "baseline"
            yield f"{part}.{line}"


def _constraints(constraints: tuple[str, ...]) -> Iterator[str]:
    for i, text in enumerate(constraints):
        try:
            Constraint(text, constraint_names())
        except ValueError as exc:
            yield f"constraints.{i}: {exc}"


def _objectives(objectives: Any, scorers: Any) -> Iterator[str]:
    if sum(o.primary for o in objectives) > 1:
        yield "objectives: only one can be primary"
    for score, count in Counter(o.score for o in objectives).items():
        if count > 1:
            yield f"objectives: {score} is listed {count} times"
    if not scorers and any(o.score != "seconds" for o in objectives):
        yield "scorers: give at least one for an objective other than `seconds`"


def _design(design: Any, space: Mapping[str, Param]) -> Iterator[str]:
    if design.kind in ("sobol", "random", "tpe", "gp", "nsga2") and design.trials is None:
        yield f"design.trials: {design.kind} needs a number of recipes to try"
    if design.kind == "grid":
        endless = [n for n, p in space.items() if not n.startswith(DUMMY) and p.levels is None]
        for name in endless:
            yield f"space.{name}: a grid needs a list of values or a `step`"
        count = 1
        for name, param in space.items():
            count *= 1 if name.startswith(DUMMY) or name in endless else len(param.levels or (0,))
        if count > GRID_LIMIT:
            yield f"space: a grid of up to {count} recipes; the limit is {GRID_LIMIT}; use sobol"
    if space and all(name.startswith(DUMMY) for name in space):
        yield "space: only dummies; search at least one recipe field"
    for name, param in space.items():
        if name.startswith(DUMMY) and param.when:
            yield f"space.{name}: a dummy takes no `when`"


def _race(race: Any, prompts: Any, seeds: Any) -> Iterator[str]:
    search = len(prompts.split()[0])
    blocks = search * seeds.per_prompt
    if race.top is not None and race.top > blocks:
        yield (
            f"race.top: {race.top} blocks asked, but {search} search prompts x "
            f"{seeds.per_prompt} seeds give {blocks}"
        )
    top = min(race.top or 32, blocks)
    # the default stands for as many as there are, also where a resolved config spells it out
    if race.start > top and race.start != type(race).model_fields["start"].default:
        yield f"race.start: {race.start} is more than the {top} blocks a recipe can run on"


def _race_objectives(race: Any, objectives: Any) -> Iterator[str]:
    if race.kind in ONE_OBJECTIVE and len(objectives) > 1:
        yield f"race.kind: {race.kind} takes one objective; use halving or none"


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, Recipe.model_fields, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"accepted: {', '.join(Recipe.model_fields)}"
    return f"no field of a recipe; {hint}"
