"""Which files a project has: stages, what each reads and writes. dvc.yaml says the same to DVC.

data/images/    pictures as they were taken; DVC keeps them (data/images.dvc)
data/prompts.txt  prompts that nothing is trained or chosen on: `infer` is scored on them
data/prepared/  prepare: cropped and shrunk
model/          train: checkpoints, their pictures and numbers; nothing that a clock wrote
adapter/        select: the chosen adapter and why
study/          study: table, winner, its own report
images/         infer: made/ and reference/, with and without what was learned, same prompts, seeds
report/         report: index.html, report.md and their pictures
metrics/ plots/ locks/   small, kept by git: numbers, curves, scores by picture, lock records
work/           runs under way, caches, the local MLflow: TESTSTRIP_HOME unless that is set
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["dreambooth", "lora", "study"]
PARAMS, PIPELINE, WORK = "params.yaml", "dvc.yaml", "work"
IMAGES, PROMPTS, PREPARED = "data/images", "data/prompts.txt", "data/prepared"
MODEL, ADAPTER, STUDY, PICTURES, REPORT = "model", "adapter", "study", "images", "report"
CURVES, SCORES, SHEET = "plots/curves.csv", "plots/scores.csv", "plots/contact-sheet.png"
MADE, REFERENCE = "made", "reference"


@dataclass(frozen=True)
class Stage:
    """One stage. Paths are relative to the project's folder, with `/`.

    `sections`: what it reads of params.yaml, whole sections or single keys (`train.revision`).
    `outputs` are kept by DVC, `notes` by git; its lock record is a note beside them. `timed`:
    outputs that hold times or the machine's speed, so that making them again gives other bytes;
    `verify` looks at their presence alone.
    """

    name: str
    sections: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()
    timed: tuple[str, ...] = ()

    @property
    def lock(self) -> str:
        """Where its lock record lies."""
        return f"locks/{self.name}.json"

    @property
    def written(self) -> tuple[str, ...]:
        """All that it makes, without its lock record."""
        return self.outputs + self.notes


_PREPARE = Stage(
    "prepare",
    ("prepare", "train.model_name", "train.revision", "train.image_size"),  # `auto` takes its size
    (IMAGES,),
    (PREPARED,),
    ("metrics/prepare.json",),
)
_TRAIN = Stage("train", ("train",), (PREPARED,), (MODEL,), ("metrics/train.json", CURVES))
_SELECT = Stage("select", ("select",), (MODEL, PREPARED), (ADAPTER,), ("metrics/select.json",))
_INFER = Stage(
    "infer",
    ("infer",),
    (ADAPTER, PROMPTS),
    (PICTURES,),
    ("metrics/infer.json", SCORES, SHEET),
)
_TRAINED = ("metrics/train.json", CURVES, "metrics/select.json")
_REPORT = Stage(
    "report", ("report",), (PICTURES, SCORES, "metrics/infer.json", *_TRAINED), (REPORT,)
)

_SEARCH = Stage(
    "study",
    ("study",),
    ("data/study-prompts.txt",),
    (STUDY,),
    ("metrics/study.json",),
    (f"{STUDY}/report.html", f"{STUDY}/report.md", f"{STUDY}/study.json"),
)
_INFER_STUDY = Stage(
    "infer", ("infer",), (STUDY, PROMPTS), (PICTURES,), ("metrics/infer.json", SCORES, SHEET)
)
_REPORT_STUDY = Stage(
    "report",
    ("report",),
    (PICTURES, SCORES, "metrics/infer.json", "metrics/study.json"),
    (REPORT,),
)

_FINE_TUNING = (_PREPARE, _TRAIN, _SELECT, _INFER, _REPORT)
STAGES: dict[Kind, tuple[Stage, ...]] = {
    "dreambooth": _FINE_TUNING,
    "lora": _FINE_TUNING,
    "study": (_SEARCH, _INFER_STUDY, _REPORT_STUDY),
}
"""By kind, in the order in which they run."""
