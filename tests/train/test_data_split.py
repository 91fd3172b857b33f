"""Which pictures are held out."""

import hashlib

import pytest

from teststrip.train.data.picture import Picture
from teststrip.train.data.split import hold_out


def picture(number: int, name: str = "") -> Picture:
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    return Picture(name or f"{number}.png", "c", sha256, 32, 32, read=lambda: b"")


@pytest.mark.parametrize("count", [2, 3, 5, 12, 40, 200])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5])
def test_the_share_is_near_what_was_asked_and_both_sides_have_pictures(count, share):
    for start in range(30):
        pictures = [picture(1000 * start + n) for n in range(count)]

        train, held_out = hold_out(pictures, share)

        assert len(train) + len(held_out) == count
        assert train
        assert max(1, int(share * count / 2)) <= len(held_out) <= max(1, round(share * count * 2))


def test_on_average_the_share_is_what_was_asked():
    held = sum(
        len(hold_out([picture(1000 * s + n) for n in range(100)], 0.2)[1]) for s in range(50)
    )

    # 5000 pictures at 0.2: 1000 expected, standard deviation 28
    assert 900 < held < 1100


def test_a_picture_keeps_its_side_whatever_its_name_order_and_company():
    some = [picture(n) for n in range(60)]
    more = [picture(n, f"renamed {n}") for n in reversed(range(120))]

    of_some = {p.sha256 for p in hold_out(some, 0.2)[1]}
    of_more = {p.sha256 for p in hold_out(more, 0.2)[1]}

    assert of_some == of_more & {p.sha256 for p in some}
    assert of_some


def test_copies_stand_on_one_side_and_count_once_when_held_out():
    pictures = [picture(n % 10, f"{n}.png") for n in range(30)]

    train, held_out = hold_out(pictures, 0.3)

    assert not {p.sha256 for p in train} & {p.sha256 for p in held_out}
    assert len({p.sha256 for p in held_out}) == len(held_out)
    assert len(train) == 3 * (10 - len(held_out))


def test_files_that_differ_but_show_the_same_pixels_are_copies():
    pictures = [picture(n) for n in range(40)]
    pairs = {p.sha256: min(p.sha256, pictures[n ^ 1].sha256) for n, p in enumerate(pictures)}

    train, held_out = hold_out(pictures, 0.5, pairs)

    assert not {pairs[p.sha256] for p in train} & {pairs[p.sha256] for p in held_out}
    assert len(train) + 2 * len(held_out) == 40


def test_nothing_is_held_out_where_nothing_was_asked_or_one_picture_is_all():
    assert hold_out([picture(n) for n in range(9)], 0.0)[1] == ()
    assert hold_out([picture(1), picture(1)], 0.5)[1] == ()
