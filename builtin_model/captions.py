"""The caption grammar: several forms for training, two that only the gate uses."""

import numpy as np

from builtin_model.objects import NAMES
from builtin_model.pictures import BACKGROUNDS, SIZES, STYLES, Scene

STYLE_WORDS: dict[str, list[str]] = {
    "plain": ["flat icon", "picture", "drawing"],
    "studio": ["commercial studio photo", "product photo", "studio photo", "photo"],
    "sticker": ["sticker"],
}
TRAINING_FORMS = [
    "a {style} of {thing} on a {background} background",
    "{thing}, {style}, {background} background",
    "{thing} on {background}, {style}",
    "{background} background, {style}, {thing}",
    "{style} of {thing} with a {background} background",
    "a {style} of {thing}",
]
"""The last form names no background; it is drawn half as often as each of the others."""
HELD_OUT_FORMS = [
    "a {style} showing {thing} against a {background} background",
    "on a {background} background: {thing}, {style}",
]
_FILLERS = (
    "high quality detailed sharp soft light bright nice simple beautiful clean new best the and in "
    "at for by this one very good shiny color colour style image shot view front side isolated "
    "centered minimal lighting catalog advertising brand shop 4k hd"
)
FILLERS = _FILLERS.split()
"""Words the text encoder learns to pass over."""
UNCOUNTED = {
    "grapes", "cherries", "fries", "scissors", "popcorn", "broccoli", "corn", "cheese",
    "lightning", "fire", "coffee", "wine",
}  # fmt: skip
"""Names that take no article."""
_WEIGHTS = np.array([2.0] * (len(TRAINING_FORMS) - 1) + [1.0])
_WEIGHTS /= _WEIGHTS.sum()


def phrase(name: str, size: str) -> str:
    """The object with its size word and article: `an apple`, `a large apple`, `large grapes`."""
    words = f"{size} {name}".strip()
    if name in UNCOUNTED:
        return words
    is_vowel = words[0] in "aeio" or words.startswith("umbrella")
    return f"{'an' if is_vowel else 'a'} {words}"


def fill(form: str, scene: Scene, style: str, size: str = "") -> str:
    """One caption of `scene` in the given form, style words and (maybe empty) size word."""
    background = list(BACKGROUNDS)[scene.background]
    text = form.format(style=style, thing=phrase(NAMES[scene.thing], size), background=background)
    return text.replace(" a orange ", " an orange ")


def training_caption(scene: Scene, rng: np.random.Generator) -> str:
    """A random training caption; the size is named in half of them."""
    styles = STYLE_WORDS[STYLES[scene.style]]
    style = styles[rng.integers(len(styles))]
    size = list(SIZES)[scene.size] if rng.random() < 0.5 else ""
    form = TRAINING_FORMS[rng.choice(len(TRAINING_FORMS), p=_WEIGHTS)]
    return fill(form, scene, style, size)


def held_out_caption(scene: Scene, form: int) -> str:
    """The gate's caption: a form never trained on, first style word, size named when large."""
    size = "large" if list(SIZES)[scene.size] == "large" else ""
    return fill(HELD_OUT_FORMS[form], scene, STYLE_WORDS[STYLES[scene.style]][0], size)
