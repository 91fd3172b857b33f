"""An analysis with everything in it at once, extreme and hostile values among it."""

from dataclasses import replace

from teststrip.evidence.advice import Advice
from teststrip.evidence.agreement import Agreement, Pair, Scorer
from teststrip.evidence.compare import Comparison
from teststrip.evidence.confirmed import Confirmed
from teststrip.evidence.coverage import Coverage
from teststrip.evidence.importance import Importance, Term
from teststrip.evidence.interval import Interval
from teststrip.evidence.kinds import Kind
from teststrip.evidence.people import People, Strength
from teststrip.evidence.variance import Future, Share, Variance

NAN, HOSTILE = float("nan"), "<script>alert(1)</script>|[x](y)"


def everything(analysis):
    """`analysis` with every conclusion there can be; numbers are made up, shapes are real."""
    ranking = analysis.ranking
    names = [row.recipe_id for row in ranking.rows if row.recipe_id != ranking.baseline]
    return replace(
        analysis,
        coverage=Coverage(416, 200, 6, 210, 13, 32, 8, (3, 4), 4, (names[-1],), True),
        variance=Variance(
            shares=(
                Share("recipe", 0.2, 0.05, 0.0, 0.4),
                Share("prompt", 3.0, 0.75, None, None),
                Share("seed", 0.0, 0.0, 0.0, 0.01),
                Share("recipe x prompt and residual", 0.8, 0.2, 0.1, 0.3),
            ),
            total=4.0,
            images=200,
            recipes=13,
            prompts=8,
            blocks=32,
            now=Future(8, 4, 32, 0.02),
            futures=(Future(16, 4, 64, 0.014), Future(8, 8, 64, 0.019)),
            note=f"Not told apart: {HOSTILE}",
        ),
        importance=Importance(
            mains=(
                Term(("guidance",), Interval(0.6, 0.4, 0.7, 8), 0.1, 0.0004, True),
                Term(("steps",), Interval(0.08, None, None, 1), 0.11, 0.4, False),
                Term(("dummy_a",), Interval(0.0, 0.0, 0.02, 8), 0.05, 1.0, False),
            ),
            pairs=(
                Term(("guidance", "steps"), Interval(0.2, 0.1, 0.3, 8), 0.1, 0.01, True),
                Term(("steps", HOSTILE), Interval(0.0, 0.0, 0.1, 8), 0.1, 1.0, False),
            ),
            recipes=12,
            blocks=4,
            prompts=4,
            unexplained=0.12,
            refused="",
            notes=("There are few prompts.",),
        ),
        agreement=Agreement(
            scorers=(
                Scorer("clip@1", False, names[0], Interval(0.7, 0.5, 0.8, 8), 40),
                Scorer(HOSTILE, True, None, None, 0),
                Scorer("other@2", False, "no-such-recipe", Interval(0.4, None, None, 1), 3),
            ),
            pairs=(
                Pair(
                    "clip@1",
                    HOSTILE,
                    Interval(NAN, None, None, 0),
                    Interval(-0.4, -0.6, 0.1, 8),
                    False,
                ),
            ),
            note="One scorer never differs",
            by_eye="clip@1 agrees with people more often than other@2.",
            recipes=13,
            blocks=4,
            prompts=4,
        ),
        people=People(
            strengths=(
                Strength(names[0], Interval(1.4, 0.2, 2.9, 8), 0.8, 40),
                Strength(names[1], Interval(-1.4, None, None, 1), 0.2, 40),
            ),
            votes=80,
            prompts=8,
            raters=2,
            ties=0.1,
            left_bias=Interval(0.5, 0.1, 0.9, 8),
            is_biased=True,
            unconnected=(names[2],),
            consistent=0.9,
            note="Few votes.",
        ),
        confirmed=confirmation(ranking.baseline, names),
        kinds=(
            Kind(f"tag {HOSTILE}", Interval(-0.001, -0.01, 0.008, 3), 1.0, 12, 3),
            Kind("animal", Interval(0.02, None, None, 1), 0.0004, 4, 1),
        ),
        advice=(
            Advice("Promote the confirmed recipe.", "it is better", "teststrip study promote sim"),
            Advice(f"Look at {HOSTILE}.", "", ""),
        ),
    )


def confirmation(baseline, names):
    """Two leaders on twelve held-out prompts; both are better."""
    return Confirmed(
        rows=tuple(
            Comparison(
                a=name,
                b=baseline,
                images=24,
                prompts=12,
                gain=Interval(0.012, 0.004, 0.02, 12),
                p_t=0.004,
                p_wilcoxon=0.005,
                p_permutation=0.006,
                p_holm=0.008,
                family=2,
                effect_size=0.8,
                wins=0.7,
                loses_on=2,
                verdict="better",
            )
            for name in names[:2]
        ),
        baseline=baseline,
        means={name: Interval(0.3, 0.29, 0.31, 12) for name in (*names[:2], baseline)},
        passes={names[0]: Interval(0.9, 0.8, 0.95, 12)},
        expected={names[0]: 0.013},
        supported=tuple(names[:2]),
        images=72,
        prompts=12,
        seeds=2,
    )
