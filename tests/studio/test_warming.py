"""The evidence of the newest studies is there before anybody asks; votes make it new."""

from pathlib import Path
from typing import Any

from teststrip.study.votes import append_votes
from teststrip.wire.studio import Analyses, Warming


def test_the_first_page_of_evidence_finds_it_worked_out(parts: Any) -> None:
    asked: list[str] = []
    found: dict[str, Any] = {}

    def analysis(name: str) -> Any:
        asked.append(name)
        found[name] = parts.analysis(name)
        return found[name]

    warming = Warming(analysis, parts.index, first_s=0)
    assert warming.wait(120)

    assert asked == [entry.name for entry in parts.index.entries()]
    assert parts.analysis("colours") is found["colours"]


def test_a_study_without_evidence_does_not_stop_the_others(parts: Any) -> None:
    from teststrip.errors import StudyError

    asked: list[str] = []

    def analysis(name: str) -> Any:
        asked.append(name)
        raise StudyError("no result yet")

    warming = Warming(analysis, parts.index, first_s=0)
    assert warming.wait(30)

    assert len(asked) == 2
    warming.stop()
    warming.stop()


def test_a_studio_that_ends_at_once_has_begun_nothing(parts: Any) -> None:
    asked: list[str] = []
    warming = Warming(asked.append, parts.index, first_s=600)

    warming.stop()

    assert warming.wait(0)
    assert asked == []


def test_a_vote_on_a_study_that_was_brought_makes_its_evidence_new(parts: Any, home: Path) -> None:
    analyses = Analyses(home, parts.index)
    first = analyses("colours")
    assert analyses("colours") is first
    table = first.ranking.rows
    vote = {"id": "a" * 16, "prompt_id": "p", "seed": 0, "choice": "left", "rater": "Ana"}
    place = home / "studio/remote/colours"
    place.mkdir(parents=True)

    append_votes(place, [vote | {"left": table[0].recipe_id, "right": table[1].recipe_id}])

    assert analyses("colours") is not first
