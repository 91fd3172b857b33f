"""`teststrip image`: make images, show what a picture holds, list the noise schedulers."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from teststrip import a1111, wire
from teststrip.cli import flags
from teststrip.errors import ConfigError
from teststrip.noise import NOISE_NAMES, SIGMA_SUFFIXES
from teststrip.recipe import Block, Request
from teststrip.records import Generation
from teststrip.wire import exporting

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make and read single images.")


def _opt(name: str, text: str) -> Any:
    flag, _, metavar = name.partition(" ")
    return typer.Option(flag, help=text, metavar=metavar or None, show_default=False)


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PngFile = Annotated[Path, typer.Argument(metavar="FILE", help="A PNG of ours or of A1111.")]


@app.command()
def generate(  # noqa: PLR0917 - typer calls it by name
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT...", help="One or more.")
    ] = None,
    model: Annotated[str | None, _opt("--model NAME", "builtin, a folder or a hub id.")] = None,
    revision: Annotated[str | None, _opt("--revision NAME", "Of a hub model.")] = None,
    seed: Annotated[list[str] | None, _opt("--seed N", "7 or 1-4; repeatable; else 0.")] = None,
    count: Annotated[int | None, _opt("--n N", "That many seeds, from --seed on.")] = None,
    steps: Annotated[str | None, _opt("--steps N", "1 to 1000.")] = None,
    guidance: Annotated[str | None, _opt("--guidance X", "0 to 100, or none.")] = None,
    rescale: Annotated[str | None, _opt("--rescale X", "Guidance rescale, 0 to 1.")] = None,
    scheduler: Annotated[str | None, _opt("--scheduler NAME", "See: image schedulers.")] = None,
    spacing: Annotated[str | None, _opt("--spacing NAME", "leading, linspace, trailing.")] = None,
    zero_snr: Annotated[bool | None, _opt("--zero-snr/--no-zero-snr", "Zero end SNR.")] = None,
    eta: Annotated[str | None, _opt("--eta X", "0 to 1; ddim and tcd only.")] = None,
    width: Annotated[str | None, _opt("--width PX", "A multiple of 8.")] = None,
    height: Annotated[str | None, _opt("--height PX", "A multiple of 8.")] = None,
    negative: Annotated[str | None, _opt("--negative TEXT", "Negative prompt.")] = None,
    template: Annotated[str | None, _opt("--template TEXT", "Holds {prompt} once.")] = None,
    clip_skip: Annotated[str | None, _opt("--clip-skip N", "Text layers to skip.")] = None,
    lora: Annotated[list[str] | None, _opt("--lora PATH[:SCALE]", "Or models:/NAME@ALIAS.")] = None,
    dtype: Annotated[str | None, _opt("--dtype NAME", "fp32, bf16 or fp16; else auto.")] = None,
    device: Annotated[str | None, _opt("--device NAME", "cpu, cuda, mps; else auto.")] = None,
    max_rows: Annotated[int | None, _opt("--max-rows N", "Rows of a forward; else 24.")] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Neighbours change no picture, not one bit.")
    ] = False,
    from_png: Annotated[
        Path | None, _opt("--from-png FILE", "Make a picture of ours again and compare.")
    ] = None,
    from_text: Annotated[
        Path | None, _opt("--from-text FILE", "Start from A1111's settings text (or its PNG).")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder.")] = Path("out"),
    as_json: Json = False,
) -> None:
    """Make images: every PROMPT with every seed. What you leave out is the model's own default.

    \b
    Examples:
      teststrip image generate "a red apple on a table" --n 4
      teststrip image generate "a cat" "a dog" --seed 1-8 --steps 20 --guidance none
      teststrip image generate --from-png out/a-cat-1-3fa4c21b.png
    """
    given: dict[str, Any] = {
        "revision": revision,
        "steps": steps,
        "guidance": guidance,
        "rescale": rescale,
        "scheduler": scheduler,
        "spacing": spacing,
        "zero_snr": zero_snr,
        "eta": eta,
        "width": width,
        "height": height,
        "negative_prompt": negative,
        "prompt_template": template,
        "clip_skip": clip_skip,
        "loras": [flags.lora(text) for text in lora] if lora else None,
        "dtype": dtype,
    }
    fields = {name: value for name, value in given.items() if value is not None}
    if from_png is not None:
        if prompts or seed or count or fields or max_rows or deterministic or from_text:
            raise ConfigError(
                "--from-png takes all settings from the file; beside it go --model, --device, "
                "--out and --json only"
            )
        _remake(from_png, out, model=model, device=device, as_json=as_json)
        return
    texts = list(prompts or [])
    if from_text is not None:
        found = _infotext(from_text)
        texts = texts or [found.block.prompt]
        seed = seed or [str(found.block.seed)]
        fields = found.recipe.model_dump(exclude_unset=True, exclude={"model"}) | fields
        model = model or found.recipe.model
    if not texts:
        raise ConfigError("no PROMPT given; or use --from-png FILE or --from-text FILE")
    settings = wire.settings()
    blocks, _ = flags.together(
        lambda: flags.blocks(texts, seed or [], count), lambda: flags.check_recipe(fields)
    )
    if lora:
        fields["loras"] = exporting.local_loras(fields["loras"], settings.home)
    options = {
        "model": model or "builtin",
        "revision": fields.pop("revision", None),
        "device": device or settings.device,
        "dtype": fields.get("dtype", "auto"),
        "max_rows": max_rows or settings.max_rows,
        "deterministic": deterministic,
    }
    _generate(options, fields, blocks, out, as_json=as_json)


@app.command()
def show(file: PngFile, as_json: Json = False) -> None:
    """Show the settings that a picture holds: ours in full, or A1111's text.

    \b
    Example:
      teststrip image show out/a-cat-1-3fa4c21b.png
    """
    from teststrip import png

    data = flags.read_file(file)
    text = png.infotext(data)
    try:
        held = png.read(data)
    except ConfigError:
        if text is None:
            raise
        request = a1111.from_text(text).request
        row: dict[str, Any] = {"file": str(file), **request.model_dump(mode="json")}
    else:
        row = {
            "file": str(file),
            "width": held.width,
            "height": held.height,
            "image_key": held.image_key,
            "recipe_id": held.request.recipe.recipe_id,
            **held.request.model_dump(mode="json"),
            "facts": dict(held.facts),
        }
    if as_json:
        print(json.dumps(row, ensure_ascii=False))
        return
    print(_harmless(text or ""))
    for name in ("image_key", "recipe_id", "facts"):
        if name in row:
            print(_harmless(f"{name}: {row[name]}"))


@app.command()
def schedulers(
    steps: Annotated[int, typer.Option("--steps", min=1, help="Count model calls for.")] = 25,
    as_json: Json = False,
) -> None:
    """List the noise schedulers: name, diffusers class, options and model calls.

    \b
    Example:
      teststrip image schedulers --steps 30
    """
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "class": known.class_name,
            "options": known.options,
            "sigmas": [f"{name}_{suffix}" for suffix in SIGMA_SUFFIXES] if known.sigmas else [],
            "spacing": known.spacing,
            "zero_snr": known.zero_snr,
            "stochastic": known.stochastic,
            "model_calls": known.calls(steps),
            "a1111": known.a1111 or None,
            "note": known.note or None,
        }
        for name, known in NOISE_NAMES.items()
    ]
    if as_json:
        print(json.dumps({"steps": steps, "schedulers": rows}))
        return
    calls = f"calls at {steps}"
    print(f"{'name':13} {calls:>12}  {'takes':33} {'A1111':13} class and options")
    for row in rows:
        takes = {
            "_karras..": row["sigmas"],
            "spacing": row["spacing"],
            "zero_snr": row["zero_snr"],
            "noise": row["stochastic"],
        }
        words = " ".join(word for word, is_so in takes.items() if is_so)
        options = " ".join(
            f"{key}={value}" for key, value in NOISE_NAMES[row["name"]].options.items()
        )
        print(
            f"{row['name']:13} {row['model_calls']:12}  {words:33} {row['a1111'] or '-':13} "
            f"{row['class']} {options}".rstrip()
        )
    print(f"_karras..: also with the suffix {', '.join('_' + suffix for suffix in SIGMA_SUFFIXES)}")
    print("noise: every step draws noise, from the block's own seed")


def _generate(
    options: Mapping[str, Any],
    fields: Mapping[str, Any],
    blocks: list[Block],
    out: Path,
    *,
    as_json: bool,
) -> None:
    from teststrip.cli import making
    from teststrip.engine import Engine

    made, failed = [], []
    with Engine.open(**options) as engine:
        recipe = flags.recipe(engine.default_recipe, fields)
        requests = [Request(recipe=recipe, block=block) for block in blocks]
        for outcome in making.make(engine.generate, requests):
            if isinstance(outcome, Generation):
                path = making.save(outcome, out)
                made.append(making.image_row(outcome, path))
                if not as_json:
                    print(path, flush=True)
            else:
                failed.append(making.failure_row(outcome))
                print(
                    "failed: {prompt!r}, seed {seed}: {reason}".format(**failed[-1]),
                    file=sys.stderr,
                )
    if as_json:
        print(json.dumps({"images": made, "failures": failed}, ensure_ascii=False))
    if failed:
        raise typer.Exit(1)


def _remake(file: Path, out: Path, *, model: str | None, device: str | None, as_json: bool) -> None:
    from teststrip import png
    from teststrip.cli import making, remaking

    data = flags.read_file(file)
    new = remaking.remake(png.read(data), model=model, device=device)
    row = making.image_row(new, making.save(new, out)) | remaking.compare(data, new)
    if as_json:
        print(json.dumps(row, ensure_ascii=False))
        return
    print(row["file"])
    if row["identical"]:
        print("bit for bit the same")
        return
    share = row["different_pixels"] / row["pixels"]
    print(
        f"{row['different_pixels']} of {row['pixels']} pixels differ ({share:.1%}), "
        f"by at most {row['largest_difference']} of 255; why that can be:"
    )
    for reason in row["why"]:
        print(f"  - {reason}")


def _infotext(file: Path) -> Request:
    """The request of a settings text or of the PNG that holds one; what is unused is named."""
    from teststrip import png

    data = flags.read_file(file)
    if data.startswith(b"\x89PNG"):
        text = png.infotext(data)
        if text is None:
            raise ConfigError(f"{file}: this picture holds no A1111 settings text")
    else:
        text = data.decode("utf-8", errors="replace")
    found = a1111.from_text(text)
    if found.leftover:
        names = _harmless(", ".join(sorted(found.leftover)))
        print(f"not used from {file}: {names}", file=sys.stderr)
    return found.request


def _harmless(text: str) -> str:
    """Text of a stranger's picture without what a terminal would obey."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )
