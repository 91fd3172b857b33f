"""Which pictures are held out: by their content, so that a picture never changes sides."""

from collections.abc import Mapping, Sequence

from teststrip.train.data.picture import Picture


def hold_out(
    pictures: Sequence[Picture], share: float, same: Mapping[str, str] | None = None
) -> tuple[tuple[Picture, ...], tuple[Picture, ...]]:
    """Split into (trained on, held out).

    A picture is held out where its SHA-256, read as a fraction, is below `share`. Names, order
    and seeds play no part. Copies stand on one side and count once when held out; `same` names
    one hash for files that differ but show the same pixels. In small sets the number held out is
    kept between half and twice what `share` asks for (at least one, and one is left to train on),
    by taking the next in order of hash, or leaving the last.
    """
    names = {p.sha256: same.get(p.sha256, p.sha256) if same else p.sha256 for p in pictures}
    order = sorted(set(names.values()))
    if not share or len(order) < 2:
        return tuple(pictures), ()
    asked = share * len(order)
    below = sum(_fraction(name) < share for name in order)
    least = max(1, int(asked / 2))
    most = max(least, min(len(order) - 1, round(asked * 2)))
    chosen = set(order[: min(max(below, least), most)])
    train = tuple(p for p in pictures if names[p.sha256] not in chosen)
    once: dict[str, Picture] = {}
    for picture in pictures:
        if names[picture.sha256] in chosen:
            once.setdefault(names[picture.sha256], picture)
    return train, tuple(once.values())


def _fraction(sha256: str) -> float:
    return int(sha256[:13], 16) / 16**13
