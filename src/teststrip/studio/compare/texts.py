"""An image's settings as text to copy: diffusers code, A1111 text, JSON."""

import json

from teststrip import png
from teststrip.errors import ConfigError, StorageError
from teststrip.evidence.reproduce import Reproduction, reproduction
from teststrip.studio.compare.shots import Shot
from teststrip.studio.pictures import Pictures


def texts(shot: Shot, pictures: Pictures) -> Reproduction | None:
    """None where the index holds no whole recipe or seed (an imported picture of another tool)."""
    if shot.row is None or shot.row["seed"] is None:
        return None
    import pandas as pd

    size, dtype = _made(shot, pictures)
    row = shot.row | {"block": shot.row.get("block") or 0}
    made = reproduction(pd.DataFrame([row]), str(row["recipe_id"]), size, dtype)
    if made is None:
        return None
    whole = {
        "prompt": row["prompt"],
        "seed": int(row["seed"]),
        "recipe": json.loads(made.recipe),
    }
    return Reproduction(
        recipe=json.dumps(whole, indent=2, ensure_ascii=False),
        a1111=made.a1111,
        diffusers=made.diffusers,
    )


def _made(shot: Shot, pictures: Pictures) -> tuple[tuple[int, int], str | None]:
    """Size and dtype as the picture says of itself; as the row says where it has vanished."""
    try:
        facts = png.read(pictures.original(shot.study, shot.key))
        return (facts.width, facts.height), str(facts.facts.get("dtype") or "") or None
    except (ConfigError, StorageError):
        told = shot.told
        width = told.get("width") or told.get("recipe.width") or 512
        height = told.get("height") or told.get("recipe.height") or 512
        return (int(width), int(height)), None
