"""What the templates of the sections are given: by the report, and by a page that has links.

Pictures are not in it; a page adds `cards`, `wall`, `again` (see `views.py`). Without links every
`to_...` is None and every `of_...` is plain text; a page with links puts its own in their place.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from teststrip.evidence import findings, numbers, views
from teststrip.evidence.answer import (
    answer,
    expectation,
    name_of,
    sentence_name,
    settings_shown,
    short,
)
from teststrip.evidence.charts.bars import shade_of
from teststrip.evidence.grid import MAX_FAILED
from teststrip.evidence.importance import Term
from teststrip.evidence.interval import RESAMPLES, SEED
from teststrip.evidence.remarks import remarks

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis

FILTERS: dict[str, Callable[..., str]] = {
    "percent": numbers.percent,
    "duration": numbers.duration,
    "seconds": numbers.seconds,
    "times": numbers.times,
    "show": short,
    "count": numbers.count,
    "share_span": findings.share_span,
}


def shown(analysis: "Analysis") -> dict[str, Any]:
    """Names of the templates -> values.

    `to_recipe`, `to_cell`: a mark's address; `to_level`: a field's function of that kind;
    `actions`: of a card, `as_table`: of a drawing by its field, both as markup.
    """
    ranking = analysis.ranking
    best = ranking.row(ranking.best)
    return {
        "a": analysis,
        "facts": analysis.facts,
        "ranking": ranking,
        "write": ranking.numbers,
        "against": "baseline" if ranking.baseline else "leader",
        "answer": answer(analysis),
        "expected": expectation(analysis),
        "figures": views.figures(analysis),
        "notes": remarks(analysis),
        "shares": findings.shares(analysis),
        "importance": findings.importance(analysis),
        "curves": findings.curves(analysis),
        "together": findings.together(analysis),
        "front": findings.front(analysis),
        "people": findings.people(analysis),
        "confirmed": findings.confirmed(analysis),
        "kinds": findings.kinds(analysis),
        "table": findings.ranking_table(analysis),
        "best": best,
        "best_name": sentence_name(best),
        "fields": list(settings_shown(best)),
        "resamples": RESAMPLES,
        "seed": SEED,
        "most_failed": MAX_FAILED,
        "p_stopped": findings.p_stopped(analysis),
        "shade": shade_of,
        "correlation": findings.correlation,
        "tight": lambda text: views.tight(text, ranking.rows),
        "name": lambda recipe_id: name_of(analysis, recipe_id),
        "of_term": _name_of_term,
        "of_tag": str,
        "to_level": None,
        "to_cell": None,
        "to_recipe": None,
        "actions": None,
        "as_table": None,
    }


def _name_of_term(term: Term) -> str:
    return term.name
