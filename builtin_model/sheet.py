"""The contact sheet: 8 x 8 objects at the default recipe, unseen pairs and held-out captions.

python -m builtin_model.sheet [--out FILE]
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from builtin_model.captions import held_out_caption
from builtin_model.export import SHIPPED
from builtin_model.gate import draw, load_pipeline
from builtin_model.objects import NAMES
from builtin_model.pictures import BACKGROUNDS, Scene, is_held_out

SIDE, ZOOM = 8, 2


def unseen_scenes() -> list[Scene]:
    """64 objects spread over the list, each on a background it was never trained with."""
    scenes = []
    for thing in range(len(NAMES)):
        unseen = [b for b in range(len(BACKGROUNDS)) if is_held_out(thing, b)]
        if unseen:
            scenes.append(Scene(thing, unseen[thing % len(unseen)], thing % 3, (thing // 3) % 2))
    picks = np.linspace(0, len(scenes) - 1, SIDE * SIDE).round().astype(int)
    return [scenes[i] for i in picks]


def main() -> None:
    """Draw and save the sheet, first picture of each; nothing is picked by hand."""
    parser = argparse.ArgumentParser(description="Draw the contact sheet.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "sheet.png")
    args = parser.parse_args()
    folder = SHIPPED / "builtin"
    recipe = json.loads((folder / "teststrip.json").read_text())["default_recipe"]
    captions = [held_out_caption(s, i % 2) for i, s in enumerate(unseen_scenes())]
    pictures = draw(
        load_pipeline(folder), captions, steps=recipe["steps"], guidance=recipe["guidance"], seed=2
    )
    levels = np.uint8(np.rint((pictures.numpy() + 1) * 127.5))
    grid = levels.reshape(SIDE, SIDE, 3, 64, 64).transpose(0, 3, 1, 4, 2).reshape(512, 512, 3)
    Image.fromarray(grid).resize((512 * ZOOM,) * 2, Image.Resampling.BICUBIC).save(args.out)
    print(*captions, sep="\n")


if __name__ == "__main__":
    main()
