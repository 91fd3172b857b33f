"""The wall: images by condition. Every cell shows its n, mean, interval and matched images.

view    what an address says: axes, score, sort, filters     fields   names an address may hold
where   filters as SQL        query   cells, matched images, images in order
axes    values of an axis, ranges of a continuous one        defaults where a wall starts
build   a view's wall         payload, image                 plain data for the page
panel   the form              export, picture                CSV, JSON, PNG
"""

from teststrip.studio.wall.routes import router

__all__ = ["router"]
