"""What the app is made of. `wire` fills it; tests do with real parts in a folder of their own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis
    from teststrip.protocols import Generator
    from teststrip.studio.index import Index
    from teststrip.studio.pictures import Pictures


@dataclass(frozen=True)
class Parts:
    """`home`: where studies live. `index`: their images. `pictures`: originals and thumbnails.

    `analysis` of a study by name, as its report has it; raises StudyError where there is none yet.
    `generator` opens the playground's (None: no playground here).
    """

    home: Path
    index: "Index"
    pictures: "Pictures"
    analysis: "Callable[[str], Analysis]"
    generator: "Callable[[], Generator] | None" = None
