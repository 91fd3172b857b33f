import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from teststrip import Block, Recipe, Request, a1111, png
from teststrip.noise import NOISE_NAMES, noise_names


@pytest.fixture
def generate(run, tiny):
    def make(*argv):
        return run("image", "generate", *argv, "--device", "cpu", "--json")

    return make


def test_every_prompt_is_made_with_every_seed(run, tiny, tmp_path):
    answer = run(
        *("image", "generate", "a red apple", "a cat", "--seed", "3-4", "--steps", 2),
        *("--model", tiny, "--out", "pictures"),
    )

    paths = [Path(line) for line in answer.out.splitlines()]
    assert answer.code == 0
    assert answer.err == ""
    assert sorted(path.name.rpartition("-")[0] for path in paths) == [
        *("a-cat-3", "a-cat-4", "a-red-apple-3", "a-red-apple-4")
    ]
    assert sorted(paths) == sorted(p.relative_to(tmp_path) for p in tmp_path.glob("pictures/*"))


def test_json_names_file_recipe_and_cost_and_the_file_agrees(generate, tiny):
    answer = generate(
        *("a cat", "--model", tiny, "--steps", 3, "--guidance", "none", "--scheduler", "heun"),
        *("--negative", "blurry", "--dtype", "fp32", "--seed", 5),
    )

    (row,) = answer.json["images"]
    held = png.read(Path(row["file"]).read_bytes())
    assert row["file"] == f"out/a-cat-5-{row['image_key'][:8]}.png"
    assert row["model_calls"] == 5
    assert row["recipe"]["guidance"] == 1
    assert held.image_key == row["image_key"]
    assert held.request.recipe.recipe_id == row["recipe_id"]
    assert held.request.block == Block(prompt="a cat", seed=5)
    assert answer.json["failures"] == []


def test_the_models_own_defaults_fill_what_is_left_out(generate, tiny):
    (row,) = generate("a cat", "--model", tiny, "--steps", 2).json["images"]

    recipe = Recipe.model_validate(row["recipe"])
    assert recipe == Recipe(model=str(tiny), steps=2)


def test_the_same_command_twice_leaves_one_file(generate, tiny, tmp_path):
    first = generate("a cat", "--model", tiny, "--steps", 2)
    second = generate("a cat", "--model", tiny, "--steps", 2)

    assert first.json["images"][0]["file"] == second.json["images"][0]["file"]
    assert len(list(tmp_path.glob("out/*"))) == 1


def test_a_picture_made_again_is_the_same_bit_for_bit(generate, run, tiny):
    row = generate("a cat", "--model", tiny, "--steps", 3, "--deterministic").json["images"][0]

    told = run("image", "generate", "--from-png", row["file"], "--out", "again")
    answer = generate("--from-png", row["file"], "--out", "again")

    assert told.out.splitlines()[1:] == ["bit for bit the same"]
    assert answer.json["identical"] is True
    assert answer.json["different_pixels"] == 0
    assert Path(answer.json["file"]).read_bytes() == Path(row["file"]).read_bytes()


def test_a_picture_that_differs_says_where_and_why(generate, run, tiny, tmp_path):
    row = generate("a cat", "--model", tiny, "--steps", 2).json["images"][0]
    data = Path(row["file"]).read_bytes()
    held, pixels = png.read(data), png.pixels(data).copy()
    pixels[0, 0] ^= 0b111
    facts = {**held.facts, "versions": {**held.facts["versions"], "torch": "1.0"}, "rows": None}
    changed = tmp_path / "changed.png"
    changed.write_bytes(png.write(pixels, held.request, facts))

    answer = generate("--from-png", changed)
    told = run("image", "generate", "--from-png", changed, "--device", "cpu")

    assert answer.code == told.code == 0
    assert answer.json["identical"] is False
    assert answer.json["different_pixels"] == 1
    assert answer.json["largest_difference"] <= 7
    assert any("torch" in reason for reason in answer.json["why"])
    assert "1 of 1024 pixels differ" in told.out


@pytest.mark.parametrize("as_png", [True, False], ids=["in a picture", "as text"])
def test_settings_text_of_a1111_is_a_start_and_flags_change_it(as_png, generate, tiny, tmp_path):
    request = Request(
        recipe=Recipe(model="elsewhere", scheduler="euler", steps=4, width=32, height=32),
        block=Block(prompt="a boat", seed=9),
    )
    text = a1111.to_text(request, 32, 32) + ", Hires upscale: 2"
    file = tmp_path / "settings"
    if as_png:
        info = Image.new("RGB", (32, 32))
        from PIL.PngImagePlugin import PngInfo

        chunk = PngInfo()
        chunk.add_text("parameters", text)
        info.save(file, "PNG", pnginfo=chunk)
    else:
        file.write_text(text)

    answer = generate("--from-text", file, "--model", tiny, "--steps", 2)

    (row,) = answer.json["images"]
    assert (row["prompt"], row["seed"]) == ("a boat", 9)
    assert (row["recipe"]["scheduler"], row["recipe"]["steps"]) == ("euler", 2)
    assert "Hires upscale" in answer.err


def test_a_failed_image_is_named_and_its_neighbours_are_made(generate, tiny):
    answer = generate("a cat", "--model", tiny, "--steps", 2, "--lora", "old.ckpt")

    assert answer.code == 1
    assert answer.json["images"] == []
    assert "old.ckpt" in answer.json["failures"][0]["reason"]
    assert "failed: 'a cat', seed 0" in answer.err


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["x", "--model", "no/such/place"], "no/such/place"),
        (["x", "--guidance", "lots"], "--guidance"),
        (["x", "--scheduler", "eular"], "unknown noise scheduler"),
        ([], "PROMPT"),
        (["x", "--from-png", "a.png"], "--from-png takes all settings"),
        (["--from-png", "missing.png"], "missing.png"),
        (["--from-text", "missing.txt"], "missing.txt"),
    ],
)
def test_wrong_use_is_one_clear_message(argv, word, generate):
    answer = generate(*argv)

    assert answer.code == 2
    assert word in answer.json["error"]["message"]
    assert "Traceback" not in answer.err


def test_a_folder_that_cannot_be_written_to_is_a_failure_with_advice(generate, tiny, tmp_path):
    (tmp_path / "file").write_text("in the way")
    answer = generate("a cat", "--model", tiny, "--steps", 1, "--out", "file/inside")

    assert answer.code == 1
    assert answer.json["error"]["type"] == "StorageError"


def test_show_prints_the_settings_as_text_and_as_json(run, tmp_path):
    request = Request(recipe=Recipe(steps=7), block=Block(prompt="a hat", seed=1))
    file = tmp_path / "hat.png"
    pixels = np.zeros((16, 24, 3), np.uint8)
    file.write_bytes(png.write(pixels, request, {"image_key": "k", "device": "cpu"}))

    told, answer = run("image", "show", file), run("image", "show", file, "--json")

    assert told.out.startswith("a hat\nSteps: 7")
    assert answer.json["recipe"]["steps"] == 7
    assert answer.json["block"] == {"prompt": "a hat", "seed": 1}
    assert (answer.json["width"], answer.json["height"]) == (24, 16)
    assert answer.json["recipe_id"] == request.recipe.recipe_id


def test_show_prints_nothing_that_a_terminal_would_obey(run, tmp_path):
    request = Request(recipe=Recipe(), block=Block(prompt="a \x1b]0;title\x07 \x9b31m hat", seed=1))
    file = tmp_path / "hat.png"
    file.write_bytes(png.write(np.zeros((8, 8, 3), np.uint8), request, {"image_key": "\x1b[2J"}))

    told = run("image", "show", file)

    assert told.code == 0
    assert all(c.isprintable() or c == "\n" for c in told.out)
    assert "hat" in told.out


def test_show_refuses_what_holds_no_settings(run, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    (tmp_path / "text.png").write_text("no picture")

    for name in ("plain.png", "text.png", "missing.png"):
        answer = run("image", "show", name, "--json")
        assert answer.code == 2
        assert answer.json["error"]["type"] == "ConfigError"


def test_schedulers_lists_every_accepted_name_and_exact_model_calls(run):
    rows = run("image", "schedulers", "--steps", 10, "--json").json["schedulers"]
    text = run("image", "schedulers").out

    names = [row["name"] for row in rows] + [name for row in rows for name in row["sigmas"]]
    assert sorted(names) == sorted(noise_names())
    assert {row["name"]: row["model_calls"] for row in rows} == {
        name: known.calls(10) for name, known in NOISE_NAMES.items()
    }
    assert all(row["name"] in text and row["class"] in text for row in rows)
    json.dumps(rows)
