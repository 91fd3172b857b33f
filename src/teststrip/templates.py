"""What the web apps share: how templates are read, and the folder `look` beside their own files."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

# what every web app of ours looks like: base.css, the font
LOOK: list[str | tuple[str, str]] = [("teststrip", "look")]


def environment(package: str, **known: Any) -> Environment:
    """The templates of a package; `known` are names that all of them may use."""
    made = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= known
    return made
