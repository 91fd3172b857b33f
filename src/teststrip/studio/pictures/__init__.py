"""Originals and thumbnails by study and image key.

store     where an original lies, and that it lies in the store
making    an original made small, within bounds
pictures  Pictures: both, with thumbnails kept by content
ahead     thumbnails of new studies, made before anybody asks
routes    /images and /thumbs
"""

from teststrip.studio.pictures.making import SIZES
from teststrip.studio.pictures.pictures import Pictures

__all__ = ["SIZES", "Pictures"]
