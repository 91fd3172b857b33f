from teststrip.cli import remaking

FACTS = {
    "fingerprint": "abc-fp32",
    "device": "cpu",
    "hardware": "x86_64",
    "deterministic": True,
    "versions": {"torch": "2.13.0"},
}


def test_equal_facts_of_a_deterministic_picture_give_no_reason():
    assert remaking.reasons(FACTS, FACTS) == []


def test_every_difference_is_a_reason():
    now = {
        "fingerprint": "abc-bf16",
        "device": "cuda",
        "hardware": "H200",
        "deterministic": True,
        "versions": {"torch": "2.14.0", "diffusers": "0.42.1"},
    }

    reasons = remaking.reasons(FACTS, now)

    assert len(reasons) == 5
    assert "other torch: 2.13.0 then, 2.14.0 now" in reasons


def test_a_picture_made_among_others_is_told_so():
    (reason,) = remaking.reasons(FACTS | {"deterministic": False}, FACTS)

    assert "--deterministic" in reason
