"""What a reader must know before believing a number: gaps, few prompts, a biased design."""

from typing import TYPE_CHECKING

from teststrip.evidence.numbers import count

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis

FEW_PROMPTS = 6


def remarks(analysis: "Analysis") -> tuple[str, ...]:
    """The limits of a study, one or two sentences each, the gravest first."""
    return tuple(
        note
        for note in (
            _failed(analysis),
            _left_out(analysis),
            _ragged(analysis),
            _baseline(analysis),
            _prompts(analysis),
            _design(analysis),
        )
        if note
    )


def _failed(analysis: "Analysis") -> str:
    failed = analysis.table[analysis.table["status"] != "ok"]
    if len(failed):
        reason = str(failed["reason"].astype(str).value_counts().index[0])
        why = f" (most often: {reason[:200]})" if reason else ""
        return f"{count(len(failed), 'image')} failed and no score was made up for them{why}."
    without = analysis.coverage.failed
    return f"{count(without, 'image')} got no score; none was made up for them." if without else ""


def _left_out(analysis: "Analysis") -> str:
    names = analysis.coverage.unusable
    if not names:
        return ""
    return (
        f"{count(len(names), 'recipe')} failed on more than a quarter of "
        f"{'its' if len(names) == 1 else 'their'} images and "
        f"{'is' if len(names) == 1 else 'are'} not ranked."
    )


def _ragged(analysis: "Analysis") -> str:
    if not analysis.coverage.is_ragged:
        return ""
    return (
        "Recipes were shown different prompts and seeds. Each is compared with another only on "
        f"what both were shown; {count(analysis.coverage.common_blocks, 'block')} "
        f"{'is' if analysis.coverage.common_blocks == 1 else 'are'} common to all."
    )


def _baseline(analysis: "Analysis") -> str:
    if analysis.facts.baseline is None or analysis.ranking.baseline is not None:
        return ""
    return "The baseline failed too often to be compared with; the leader stands in."


def _prompts(analysis: "Analysis") -> str:
    prompts = analysis.ranking.prompts
    if prompts == 1:
        return "There is one prompt. Intervals are over its seeds and say nothing of other prompts."
    if prompts < FEW_PROMPTS:
        return (
            f"There are only {prompts} prompts; intervals must be wide. More prompts help more "
            "than more seeds."
        )
    return ""


def _design(analysis: "Analysis") -> str:
    if not analysis.facts.is_adaptive:
        return ""
    return (
        f"Recipes were proposed by {analysis.facts.design}, which crowds around what looks good: "
        "read the parameter plots as a description of these recipes, not as importance."
    )
