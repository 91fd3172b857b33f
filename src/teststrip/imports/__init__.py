"""Folders of images made by other tools -> a study that can be browsed, filtered and rated.

texts      the settings texts inside a PNG, JPEG or WebP      found     what such a text says
webui comfyui invokeai swarmui    a reader each               reading   which reader understands it
walk       the pictures of a folder, links not followed       store     copies by content, a ledger
table      images.parquet as a study has it                   importing the loop
"""

from teststrip.imports.importing import Import, Imported, run
from teststrip.imports.reading import read

__all__ = ["Import", "Imported", "read", "run"]
