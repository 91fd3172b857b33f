"""PickScore: a CLIP model fine-tuned on people's choices (Kirstain et al. 2023, arXiv 2305.01569).

Chooses as people did in 70.2 % of Pick-a-Pic's pairs, where a person agrees in 68.0 %.
"""

from pydantic import Field

from teststrip.score.clip import ClipScorer
from teststrip.score.clip_model import ClipOptions

MODEL = "yuvalkirstain/PickScore_v1"
PROCESSOR = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"


class PickOptions(ClipOptions):
    """As ClipOptions; PickScore's own hub repository is used with the processor of its base.

    `model`: the hub id or a folder in the same layout, which then holds its processor too.
    """

    model: str = Field(default=MODEL, min_length=1)

    def model_post_init(self, context: object, /) -> None:
        """The published weights come without tokenizer and preprocessing."""
        if self.model == MODEL and self.processor is None:
            object.__setattr__(self, "processor", PROCESSOR)


class PickScorer(ClipScorer):
    """exp(logit scale) x cosine, as in the paper's code. Column `pickscore:<model>@<revision>`.

    Only differences between pictures of one prompt mean something: a difference d says that the
    first is preferred with probability 1 / (1 + exp(-d)).
    """

    kind = "pickscore"
    options_type = PickOptions

    def weight(self) -> float:
        """The learned logit scale."""
        return self.towers.logit_scale
