"""One image at a time: a gallery to star and reject in. Images come in the order of their keys,
which is as good as shuffled, so that a recipe's images do not stand together."""

from fastapi import Request
from fastapi.responses import Response

from teststrip.studio import pages
from teststrip.studio.rate.desk import Desk
from teststrip.study.marks import stored_marks

PER_PAGE = 48
SHOWN = {"all": "All", "unmarked": "Not marked", "star": "Starred", "reject": "Rejected"}


def page(  # noqa: PLR0917 - what the address holds
    request: Request, at: Desk, study: str, rater: str, show: str, part: int
) -> Response:
    """One page of images with this rater's marks, and how many others marked each."""
    shelf, marks = at.shelf(study), stored_marks(at.folder(study))
    show = show if show in SHOWN else "all"
    own = {key: raters.get(rater, "") for key, raters in marks.items()}
    wanted = {"all": None, "unmarked": ""}.get(show, show)
    keys = [k for k in sorted(shelf.images) if wanted is None or own.get(k, "") == wanted]
    parts = max(1, -(-len(keys) // PER_PAGE))
    part = min(part, parts)
    images = [
        {
            "key": key,
            "number": number,
            "prompt": shelf.images[key]["prompt"],
            "mark": own.get(key, ""),
            "others": sorted(m for name, m in marks.get(key, {}).items() if name != rater),
        }
        for number, key in enumerate(keys[(part - 1) * PER_PAGE : part * PER_PAGE], 1)
    ]
    return pages.render(
        request,
        "rate/single.html",
        page="rate",
        study=study,
        rater=rater,
        entry=shelf.entry,
        has_pairs=shelf.has_pairs,
        images=images,
        found=len(keys),
        show=show,
        shown=SHOWN,
        part=part,
        parts_n=parts,
        stars=sum(mark == "star" for mark in own.values()),
        rejects=sum(mark == "reject" for mark in own.values()),
        standing=at.courier.standing(at.folder(study)),
    )
