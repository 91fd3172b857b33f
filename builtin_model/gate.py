"""The gate: does the shipped folder draw what the caption says? Asked of the independent judge.

python -m builtin_model.gate --work DIR              the gate at the default recipe, gate.json
python -m builtin_model.gate --work DIR --sweep      also steps, guidance and schedulers
"""

import argparse
import json
import platform
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from builtin_model.captions import held_out_caption
from builtin_model.clip import draw_scenes, features
from builtin_model.corruptions import KINDS
from builtin_model.export import SHIPPED
from builtin_model.judge import judge_rendered, load_judge
from builtin_model.objects import NAMES
from builtin_model.pictures import BACKGROUNDS, STYLES, Scene, batch, is_held_out
from builtin_model.text import tokens
from builtin_model.vae import psnr_db

STEPS, GUIDANCES = (4, 6, 8, 12, 20), (1.0, 2.0, 3.0, 5.0, 8.0)
SCHEDULERS = (
    "DDIMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
    "UniPCMultistepScheduler", "PNDMScheduler",
)  # fmt: skip


def questions(rng: np.random.Generator, per_form: int) -> list[tuple[Scene, str]]:
    """Every object x both held-out forms x `per_form` backgrounds (one of them unseen with it)."""
    asked = []
    for thing in range(len(NAMES)):
        unseen = [b for b in range(len(BACKGROUNDS)) if is_held_out(thing, b)]
        for form in range(2):
            grounds = list(rng.permutation(len(BACKGROUNDS))[:per_form])
            if unseen:
                grounds[0] = unseen[form % len(unseen)]
            for ground in grounds:
                style, size = int(rng.integers(len(STYLES))), int(rng.integers(2))
                scene = Scene(thing, int(ground), style, size)
                asked.append((scene, held_out_caption(scene, form)))
    return asked


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    """The folder as users load it, in bf16, without progress bars."""
    pipe = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(
    pipe: StableDiffusionPipeline,
    captions: list[str],
    *,
    steps: int,
    guidance: float,
    seed: int = 0,
) -> Tensor:
    """Pictures [N,3,64,64] float32 in -1..1, one CPU generator per picture."""
    parts = []
    for first in range(0, len(captions), 32):
        chunk = captions[first : first + 32]
        seeds = [torch.Generator().manual_seed(seed * 9973 + first + i) for i in range(len(chunk))]
        recipe = {"num_inference_steps": steps, "guidance_scale": guidance, "generator": seeds}
        images = pipe(chunk, output_type="np", **recipe).images
        parts.append(torch.from_numpy(np.rint(images * 255) / 127.5 - 1).permute(0, 3, 1, 2))
    return torch.cat(parts).float()


class Jury:
    """The judge and the shipped scorer together."""

    def __init__(self, work: Path):
        self.judge = load_judge(work)
        self.clip = CLIPModel.from_pretrained(SHIPPED / "clip_small").float().eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(SHIPPED / "clip_small")

    @torch.no_grad()
    def verdict(self, asked: list[tuple[Scene, str]], pictures: Tensor) -> dict[str, Any]:
        """Shares right, mean cosine, contrast and saturation, and the mistakes made."""
        scores = self.judge(pictures)
        thing, ground = (s.argmax(dim=1).tolist() for s in scores)
        text, image = features(self.clip, tokens(self.tokenizer, [c for _, c in asked]), pictures)
        pairs = [(s.thing, t) for (s, _), t in zip(asked, thing, strict=True)]
        spread = pictures.amax(dim=1) - pictures.amin(dim=1)
        return {
            "images": len(asked),
            "object": sum(a == b for a, b in pairs) / len(pairs),
            "background": sum(
                s.background == g for (s, _), g in zip(asked, ground, strict=True)
            ) / len(pairs),
            "clip_cosine": (text * image).sum(dim=1).mean().item(),
            "contrast": pictures.std(dim=(1, 2, 3)).mean().item() / 2,
            "saturation": spread.mean().item() / 2,
            "mistakes": [(NAMES[a], NAMES[b]) for a, b in pairs if a != b],
        }  # fmt: skip

    @torch.no_grad()
    def scorer_numbers(self, count: int = 1024) -> dict[str, float]:
        """Of the scorer alone, on rendered pictures: wrong objects, and broken copies, below?"""
        rng = np.random.default_rng(41)
        scenes = draw_scenes(rng, count)
        captions = [held_out_caption(s, i % 2) for i, s in enumerate(scenes)]
        clean = torch.from_numpy(batch(scenes))
        text, image = features(self.clip, tokens(self.tokenizer, captions), clean)
        right = (text * image).sum(dim=1)
        others = torch.tensor([(s.thing + 1 + int(rng.integers(123))) % 124 for s in scenes])
        wrong = [
            held_out_caption(Scene(int(o), s.background, s.style, s.size), i % 2)
            for i, (s, o) in enumerate(zip(scenes, others, strict=True))
        ]
        text_wrong, _ = features(self.clip, tokens(self.tokenizer, wrong), clean[:1])
        numbers = {"wrong_object_below": (right > (text_wrong * image).sum(dim=1)).float().mean()}
        for kind, break_it in KINDS.items():
            _, broken = features(
                self.clip, tokens(self.tokenizer, ["a"]), break_it(clean, 0.5, rng).clamp(-1, 1)
            )
            numbers[f"{kind}_below"] = (right > (text * broken).sum(dim=1)).float().mean()
        numbers["broken_below_mean"] = torch.stack(list(numbers.values())[1:]).mean()
        return {key: value.item() for key, value in numbers.items()}


def sweep(pipe: StableDiffusionPipeline, jury: Jury, recipe: dict[str, Any]) -> dict[str, Any]:
    """One question per object, mostly unseen pairs; vary steps, guidance, scheduler by turns."""
    asked = questions(np.random.default_rng(7), 1)[::2]
    captions, table = [c for _, c in asked], {}
    for steps in STEPS:
        pictures = draw(pipe, captions, steps=steps, guidance=recipe["guidance"])
        table[f"steps {steps}"] = jury.verdict(asked, pictures)
    for guidance in GUIDANCES:
        pictures = draw(pipe, captions, steps=recipe["steps"], guidance=guidance)
        table[f"guidance {guidance:g}"] = jury.verdict(asked, pictures)
    own = pipe.scheduler
    for name in SCHEDULERS:
        pipe.scheduler = getattr(diffusers, name).from_config(own.config)
        pictures = draw(pipe, captions, steps=recipe["steps"], guidance=recipe["guidance"])
        table[name] = jury.verdict(asked, pictures)
    pipe.scheduler = own
    for row in table.values():
        del row["mistakes"]
    return table


def main() -> None:
    """Load the shipped folders, draw, judge, write gate.json."""
    parser = argparse.ArgumentParser(description="Judge the shipped model.")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--per-form", type=int, default=3, help="backgrounds per object and form")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "gate.json")
    args = parser.parse_args()
    folder, start = SHIPPED / "builtin", time.time()
    recipe = json.loads((folder / "teststrip.json").read_text())["default_recipe"]
    pipe, jury = load_pipeline(folder), Jury(args.work)
    asked = questions(np.random.default_rng(11), args.per_form)
    pictures = draw(
        pipe, [c for _, c in asked], steps=recipe["steps"], guidance=recipe["guidance"], seed=1
    )
    result = jury.verdict(asked, pictures)
    mistakes = result.pop("mistakes")
    unseen = [i for i, (s, _) in enumerate(asked) if is_held_out(s.thing, s.background)]
    seen = sorted(set(range(len(asked))) - set(unseen))
    parts = {
        name: jury.verdict([asked[i] for i in rows], pictures[rows])
        for name, rows in (("unseen", unseen), ("seen", seen))
    }
    report = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.machine()} CPU, {torch.get_num_threads()} threads, bf16",
        "recipe": recipe,
        "gate": result,
        **{
            f"{name}_pairs_only": {k: part[k] for k in ("images", "object", "background")}
            for name, part in parts.items()
        },
        "worst_objects": Counter(a for a, _ in mistakes).most_common(15),
        "confusions": [[*pair, n] for pair, n in Counter(mistakes).most_common(25)],
        "judge_on_rendered_pictures": judge_rendered(args.work),
        "scorer": jury.scorer_numbers(),
        "vae_psnr_db": psnr_db(pipe.vae.float()),
    }
    pipe.vae.to(torch.bfloat16)
    if args.sweep:
        report["sweep_around"] = recipe
        report["sweep"] = sweep(pipe, jury, recipe)
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1), f"\n{time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
