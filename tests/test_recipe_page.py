"""The tables in docs/recipe.md are made from the code: `python tests/test_recipe_page.py`
writes them anew."""

from pathlib import Path

from teststrip.noise import NOISE_NAMES
from teststrip.recipe import Recipe

PAGE = Path(__file__).parents[1] / "docs" / "recipe.md"

WHAT = {
    "model": "shipped name, diffusers folder or hub id",
    "revision": "the hub's branch, tag or commit",
    "loras": "list of `{path, scale}`, scale -10 to 10, at most 8",
    "scheduler": "noise scheduler, see below",
    "spacing": "leading, linspace or trailing; none: the model's own",
    "zero_snr": "betas rescaled to zero terminal signal",
    "eta": "noise added by ddim and tcd, 0 to 1",
    "steps": "1 to 1000",
    "guidance": "classifier-free guidance, up to 100; `none` or 1: not guided, at half the cost",
    "rescale": "guidance rescale, 0 to 1",
    "width": "px, multiple of 8, 16 to 4096; none: the model's own",
    "height": "px, as width",
    "negative_prompt": "text to steer away from; needs guidance",
    "prompt_template": "text around `{prompt}`",
    "clip_skip": "text encoder layers left out at the end, 0 to 12",
    "dtype": "fp32, bf16 or fp16; none: what fits the device",
}


def fields() -> str:
    rows = ["| field | default | meaning |", "|---|---|---|"]
    for name, field in Recipe.model_fields.items():
        shown = "none" if field.default is None else f"`{field.default!r}`"
        rows.append(f"| `{name}` | {shown} | {WHAT[name]} |")
    return "\n".join(rows)


def schedulers() -> str:
    rows = [
        "| name | diffusers class | options | calls | with suffix | zero_snr | random | A1111 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, known in NOISE_NAMES.items():
        options = ", ".join(f"{k}={v}" for k, v in known.options.items())
        options += "; no `spacing`" if not known.spacing else ""
        options += f"; {known.note}" if known.note else ""
        marks = ("yes" if x else "" for x in (known.sigmas, known.zero_snr, known.stochastic))
        cells = (
            f"`{name}`", known.class_name, options.removeprefix("; "), str(known.calls(20)), *marks,
            known.a1111,
        )  # fmt: skip
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def with_tables(page: str) -> str:
    for name, table in {"fields": fields(), "schedulers": schedulers()}.items():
        before, mark, after = page.partition(f"<!-- {name} -->\n")
        after = after.lstrip("\n")
        while after.startswith("|"):
            after = after.partition("\n")[2]
        page = f"{before}{mark}\n{table}\n\n{after.lstrip()}"
    return page


def test_the_tables_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert "| `scheduler` |" in page
    assert "| `dpmpp_2m` | DPMSolverMultistepScheduler |" in page
    assert with_tables(page) == page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
