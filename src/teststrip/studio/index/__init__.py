"""One DuckDB table of images per study, with what is known of the study beside it."""

from teststrip.studio.index.entry import Entry, Score, Setting
from teststrip.studio.index.index import Index

__all__ = ["Entry", "Index", "Score", "Setting"]
