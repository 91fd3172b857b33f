"""Validation images: the same prompts and seeds at every checkpoint, by real generators."""

import math

import pytest

from teststrip import png
from teststrip.engine.pool import EnginePool
from teststrip.errors import ConfigError, GenerationError, ModelError
from teststrip.plugins import SCORERS, load
from teststrip.records import Failure
from teststrip.score.references import references
from teststrip.testing.small_trainer import add_lora, lora_weights, opened
from teststrip.train.checkpoints import Checkpoint, write
from teststrip.train.folder import RunFolder
from teststrip.train.measure import table, written
from teststrip.train.measure.judging import means
from teststrip.train.measure.measures import Measures
from teststrip.train.measure.opening import open_measures
from teststrip.train.measure.validation import base_recipe

pytestmark = pytest.mark.usefixtures("one_thread")
PROMPTS = ("a red circle", "a blue square")
VALIDATION = {"prompts": PROMPTS, "seeds": (0, 1), "recipe": {"steps": 2}}


@pytest.fixture
def folder(tmp_path):
    place = RunFolder(tmp_path / "runs" / "run")
    place.path.mkdir(parents=True)
    place.write(state="running")
    return place


class Counting:
    """The local engine; counts what it is asked for, and can refuse some of it."""

    def __init__(self):
        self.pool = EnginePool(device="cpu")
        self.asked = []
        self.refused = ()

    def fingerprint(self, recipe):
        return self.pool.fingerprint(recipe)

    def generate(self, requests, on_progress=None):
        requests = list(requests)
        self.asked += requests
        good = [r for r in requests if r.block.seed not in self.refused]
        yield from (Failure(r, "key", "no memory") for r in requests if r not in good)
        yield from self.pool.generate(good, on_progress)

    def close(self):
        self.pool.close()


@pytest.fixture
def generator():
    made = Counting()
    yield made
    made.close()


@pytest.fixture
def run(config, pictures, folder, generator):
    """run(step, **changes): measures that were started, and a checkpoint of an adapter."""

    def make(step=2, **changes):
        settings = config(validation=VALIDATION | {"draws": 2, "scorers": ["clip"]}, **changes)
        model, examples, held_out = opened(settings, pictures)
        scorers = [load("clip", SCORERS, "scorer")()]
        measures = Measures(settings, folder.path, generator, scorers)
        measures.start(model, examples, held_out)
        add_lora(model, settings)
        return measures, write(folder.path, step, lora_weights(model), {}, {"base": {}})

    return make


def test_the_base_model_and_each_checkpoint_have_the_same_prompts_and_seeds(run, folder):
    measures, checkpoint = run()
    measures.checkpoint(checkpoint)

    rows = table.read(folder.path / "samples.parquet")
    places = {
        step: {(r["prompt"], r["seed"]) for r in rows if r["step"] == step} for step in (0, 2)
    }
    assert places[0] == places[2] == {(p, s) for p in PROMPTS for s in (0, 1)}
    for row in rows:
        facts = png.read((folder.path / row["png"]).read_bytes())
        assert (facts.request.block.prompt, facts.request.block.seed) == (
            row["prompt"],
            row["seed"],
        )
        loras = [lora.path for lora in facts.request.recipe.loras]
        assert loras == ([str(checkpoint.weights)] if row["step"] else [])
    base, later = ([r["png"] for r in rows if r["step"] == step] for step in (0, 2))
    assert all(
        png.pixels((folder.path / a).read_bytes()).tobytes()
        != png.pixels((folder.path / b).read_bytes()).tobytes()
        for a, b in zip(base, later, strict=True)
    )


def test_scores_are_in_the_table_in_run_json_and_in_the_metrics(run, folder):
    measures, checkpoint = run()
    measures.checkpoint(checkpoint)

    higher = folder.read()["scores"]
    assert {name.partition(":")[0].partition("@")[0]: up for name, up in higher.items()} == {
        "likeness": True,
        "nearest": False,
        "diversity": True,
        "clip_small": True,
    }
    assert sorted(folder.read()["prompts"].values()) == sorted(PROMPTS)
    rows = table.read(folder.path / "samples.parquet")
    assert all(math.isfinite(row[column]) for row in rows for column in higher)
    at_two = [row for row in rows if row["step"] == 2]
    (line,) = (r for r in written.rows_of(folder.metrics) if r["step"] == 2 and "clip_small@1" in r)
    for column in higher:
        mean = sum(row[column] for row in at_two) / len(at_two)
        assert line[column] == pytest.approx(mean)


def test_a_checkpoint_that_was_shown_is_not_made_again(run, generator):
    measures, checkpoint = run()
    measures.checkpoint(checkpoint)
    before = len(generator.asked)

    measures.checkpoint(checkpoint)

    assert before == 8
    assert len(generator.asked) == before


def test_a_lost_image_is_made_again_and_the_others_are_kept(run, folder, generator, config):
    measures, checkpoint = run()
    measures.checkpoint(checkpoint)
    lost = next((folder.samples / "2").glob("*.png"))
    whole = lost.read_bytes()
    lost.write_bytes(whole[:100])
    (folder.path / "samples.parquet").unlink()
    before = len(generator.asked)

    measures.checkpoint(checkpoint)

    assert len(generator.asked) == before + 1
    assert lost.read_bytes() == whole
    assert len(table.read(folder.path / "samples.parquet")) == 4


def test_going_back_forgets_the_images_of_later_steps(run, folder):
    measures, checkpoint = run()
    measures.checkpoint(checkpoint)

    measures.rewind(1)

    assert {row["step"] for row in table.read(folder.path / "samples.parquet")} == {0}
    assert [p.name for p in folder.samples.iterdir()] == ["0"]


def test_an_image_that_cannot_be_made_does_not_end_the_run(run, folder, generator, caplog):
    measures, checkpoint = run()
    generator.refused = (1,)

    measures.checkpoint(checkpoint)

    rows = [r for r in table.read(folder.path / "samples.parquet") if r["step"] == 2]
    assert {row["seed"] for row in rows} == {0}
    assert all(row[c] is None for row in rows for c in row if c.startswith("diversity"))
    assert "no memory" in caplog.text
    assert written.rows_of(folder.metrics)[-1]["images_failed"] == 2


def test_an_engine_without_memory_does_not_end_the_run(run, generator, monkeypatch, caplog):
    measures, checkpoint = run()

    def refuse(requests, on_progress=None):
        raise GenerationError("out of memory with a single image in the batch")

    monkeypatch.setattr(generator, "generate", refuse)
    measures.checkpoint(checkpoint)

    assert "out of memory" in caplog.text


def test_a_damaged_adapter_is_no_image(run, folder, caplog):
    measures, checkpoint = run()
    broken = folder.path / "broken.safetensors"
    broken.write_bytes(b"nothing")

    measures.checkpoint(Checkpoint(3, checkpoint.folder, broken, {}))

    assert "cannot be loaded" in caplog.text
    assert 3 not in {row["step"] for row in table.read(folder.path / "samples.parquet")}


def test_a_broken_scorer_gives_a_reason_and_no_number(config, pictures, folder, generator):
    class Broken:
        @property
        def columns(self):
            return {"broken@1": True}

        def score(self, generations):
            raise ValueError("no such eye")

    settings = config(validation=VALIDATION)
    measures = Measures(settings, folder.path, generator, [Broken()])
    measures.start(*opened(settings, pictures))

    rows = table.read(folder.path / "samples.parquet")
    assert [row["broken@1"] for row in rows] == [None] * 4
    assert all("no such eye" in row["reason"] for row in rows)


def test_the_recipe_is_the_models_own_with_what_was_changed(config, tiny):
    recipe = base_recipe(config(validation={"recipe": {"guidance": 1, "steps": 3}}))
    assert (recipe.model, recipe.steps, recipe.guidance) == (str(tiny), 3, 1.0)
    own = base_recipe(config(base="builtin"))
    changed = base_recipe(config(base="builtin", validation={"recipe": {"guidance": 1}}))
    assert own.model_dump(exclude={"guidance", "rescale"}) == changed.model_dump(
        exclude={"guidance", "rescale"}
    )
    assert changed.rescale == 0


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"model": "other", "loras": []}, "loras: is given by the run itself"),
        ({"stepz": 3, "guidance": -1}, "stepz: unknown key"),
        ({"scheduler": "dpm"}, "unknown noise scheduler"),
        ({"scheduler": "euler", "eta": 0.5}, "eta acts on ddim and tcd only"),
    ],
)
def test_a_wrong_recipe_is_said_before_training(config, tmp_path, recipe, said):
    settings = config(validation={"recipe": recipe, "prompts": ["a cat"]})
    with pytest.raises(ConfigError, match=said):
        open_measures(settings, tmp_path, tmp_path, track=False)


def test_a_missing_model_is_said_before_training(config, tmp_path):
    settings = config(base=str(tmp_path / "none"), validation={"prompts": ["a cat"]})
    with pytest.raises(ModelError, match="none"):
        open_measures(settings, tmp_path, tmp_path, track=False)


def test_measures_open_with_what_the_config_names_and_close_their_own_engine(config, tmp_path):
    measures = open_measures(config(validation=VALIDATION), tmp_path, tmp_path, track=False)
    assert isinstance(measures.owned, EnginePool)
    measures.close()
    measures.close()
    given = Counting()
    assert (
        open_measures(
            config(validation=VALIDATION), tmp_path, tmp_path, generator=given, track=False
        ).owned
        is None
    )


def test_the_mean_is_over_prompts_and_not_over_images():
    rows = [
        {"prompt_id": "a", "x@1": 1.0},
        {"prompt_id": "a", "x@1": 1.0},
        {"prompt_id": "a", "x@1": float("nan")},
        {"prompt_id": "b", "x@1": 4.0},
        {"prompt_id": "c", "x@1": None},
    ]
    assert means(rows, {"x@1": True, "y@1": True}) == {"x@1": 2.5}


def test_a_damaged_table_is_said(tmp_path):
    from teststrip.errors import StorageError

    (tmp_path / "samples.parquet").write_bytes(b"PAR1nothing")
    with pytest.raises(StorageError, match="cannot be read"):
        table.read(tmp_path / "samples.parquet")


def test_references_are_the_pictures_of_a_split(pictures, tmp_path):
    import json

    all_ = references(pictures, None, None)
    manifest = tmp_path / "manifest.json"
    listed = [{"sha256": r.sha256, "split": "train"} for r in all_[:2]]
    manifest.write_text(json.dumps({"pictures": listed}))
    assert len(all_) == 12
    assert references(pictures, manifest, "train") == all_[:2]
    with pytest.raises(ConfigError, match="holds none that"):
        references(pictures, manifest, "held_out")
