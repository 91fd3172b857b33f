"""Which rows of an import can be compared: what evidence gets to see."""

from typing import TYPE_CHECKING

from teststrip.errors import StudyError
from teststrip.imports.found import NO_SETTINGS

if TYPE_CHECKING:
    import pandas as pd

RECIPE, PARAM = "recipe.", "param."


def comparable(frame: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """The rows that can be compared, each recipe, prompt and seed once; blocks numbered anew."""
    import pandas as pd

    told = (frame["prompt"].fillna("") != "") & (frame["recipe_id"] != NO_SETTINGS)
    rows = frame[told].copy()
    if not len(rows):
        raise StudyError(
            f"import {name!r}: none of its {len(frame)} images says both its prompt and its "
            "settings, so no setting can be judged; they can be browsed and rated"
        )
    lost = rows["seed"].isna()
    codes, _ = pd.factorize(rows["seed"].astype(str))  # seeds are only ever compared
    rows["seed"] = pd.Series(codes, index=rows.index).where(~lost, len(rows) + rows.index)
    rows = rows.drop_duplicates(["recipe_id", "prompt_id", "seed"]).reset_index(drop=True)
    rows["block"] = rows.groupby(["prompt_id", "seed"], sort=False).ngroup()
    return rows


def varied(rows: "pd.DataFrame") -> tuple[str, ...]:
    """Settings with more than one value, without their prefix."""
    recipes = rows.drop_duplicates("recipe_id")
    return tuple(
        str(column).removeprefix(RECIPE).removeprefix(PARAM)
        for column in rows
        if str(column).startswith((RECIPE, PARAM)) and recipes[column].nunique(dropna=False) > 1
    )
