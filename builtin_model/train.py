"""Train everything, stage by stage, within a time budget; stop and go on at will.

    python -m builtin_model.train --work DIR --minutes 120        all stages
    python -m builtin_model.train --work DIR --stage unet --until 17:05   one stage, until HH:MM UTC

A stage whose checkpoint exists goes on from it; `--fresh` starts it anew. The learning rate follows
the wall clock, so that its final fall always happens, on a slow machine too.
"""

import argparse
import os
import time
from pathlib import Path

import torch

from builtin_model.clip import train_clip
from builtin_model.decoder import train_decoder
from builtin_model.judge import train_judge
from builtin_model.latents import cache_latents
from builtin_model.progress import clock
from builtin_model.text import train_text
from builtin_model.tokenizer import stored_tokenizer
from builtin_model.unet import train_unet
from builtin_model.vae import train_vae

SHARES = {
    "vae": 0.24,
    "latents": 0.02,
    "text": 0.01,
    "unet": 0.56,
    "decoder": 0.05,
    "clip": 0.08,
    "judge": 0.04,
}
"""Stages in order, with the share of the whole time each is given."""


def run_stage(name: str, work: Path, end: float) -> None:
    """Run one stage until `end` (Unix seconds); `latents` takes what it takes."""
    tokenizer = stored_tokenizer(work)
    match name:
        case "vae":
            train_vae(work, end)
        case "latents":
            cache_latents(work)
        case "text":
            train_text(work, tokenizer, end)
        case "unet":
            train_unet(work, tokenizer, end)
        case "decoder":
            train_decoder(work, end)
        case "clip":
            train_clip(work, tokenizer, end)
        case "judge":
            train_judge(work, end)
        case _:
            raise ValueError(f"unknown stage {name!r}; known: {', '.join(SHARES)}")


def main() -> None:
    """Read the arguments, write the process id, run the stages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--stage", choices=[*SHARES, "all"], default="all")
    parser.add_argument("--until", help="stop at this time, HH:MM in UTC")
    parser.add_argument("--minutes", type=float, default=120, help="or after so many minutes")
    parser.add_argument("--fresh", action="store_true", help="forget the stage's checkpoint")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    if args.stage in ("vae", "unet", "all"):
        (args.work / "train.pid").write_text(f"{os.getpid()}\n")
    start = time.time()
    end = clock(args.until) if args.until else start + 60 * args.minutes
    names = list(SHARES) if args.stage == "all" else [args.stage]
    left = sum(SHARES[name] for name in names)
    for name in names:
        if args.fresh:
            (args.work / f"{name}.pt").unlink(missing_ok=True)
        now = time.time()
        run_stage(name, args.work, now + (end - now) * SHARES[name] / left)
        left -= SHARES[name]


if __name__ == "__main__":
    main()
