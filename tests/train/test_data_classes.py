"""Class pictures: made by the base model, kept, resumed."""

import json
from collections.abc import Iterator

import pytest

from teststrip import png
from teststrip.engine.pool import EnginePool
from teststrip.errors import ConfigError, GenerationError
from teststrip.records import Failure
from teststrip.testing.tiny import tiny_pipeline
from teststrip.train.config import TrainConfig
from teststrip.train.data.classes import class_pictures, class_requests
from teststrip.train.data.examples import Examples
from teststrip.train.data.prepare import prepare
from teststrip.train.model import open_model

pytestmark = pytest.mark.usefixtures("one_thread")
SUBJECT = {
    "instance_prompt": "a zog",
    "class_prompt": "a thing",
    "class_pictures": 4,
    "prior_weight": 1.0,
}


class Watched:
    """The real generator; remembers what it was asked, fails or is cut off where told."""

    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool
        self.asked: list[int] = []
        self.fails: set[int] = set()
        self.stops_after: int | None = None

    def fingerprint(self, recipe):
        return self._pool.fingerprint(recipe)

    def generate(self, requests, on_progress=None) -> Iterator:
        for request in requests:
            seed = request.block.seed
            if self.stops_after is not None and len(self.asked) >= self.stops_after:
                raise KeyboardInterrupt
            self.asked.append(seed)
            if len(self.asked) in self.fails:
                yield Failure(request, "key", "out of memory")
            else:
                yield from self._pool.generate([request])

    def close(self) -> None:
        self._pool.close()


@pytest.fixture(scope="module")
def pool() -> Iterator[EnginePool]:
    found = EnginePool(device="cpu", max_rows=2)
    yield found
    found.close()


@pytest.fixture
def generator(pool) -> Watched:
    return Watched(pool)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    """The tiny model with makers who recommend two steps."""
    folder = tiny_pipeline(tmp_path_factory.mktemp("base") / "tiny")
    fields = {"steps": 2, "guidance": 2.0, "scheduler": "ddim"}
    (folder / "teststrip.json").write_text(json.dumps({"default_recipe": fields}))
    return str(folder)


@pytest.fixture
def dreambooth(config, base) -> TrainConfig:
    return config(base=base, subject=SUBJECT)


def test_pictures_are_made_once_by_the_base_model_and_kept(dreambooth, generator, tmp_path):
    seen = []
    first = class_pictures(
        dreambooth, generator, tmp_path, lambda done, total: seen.append((done, total))
    )

    assert len(generator.asked) == 4
    assert seen == [(n, 4) for n in (1, 2, 3, 4)]
    assert len({p.sha256 for p in first}) == 4
    for picture in first:
        assert picture.is_class
        assert picture.caption == "a thing"
        assert (picture.width, picture.height) == picture.open().size == (32, 32)
        kept = png.read((tmp_path / picture.name).read_bytes())
        assert kept.request.text == "a thing"
        assert f"{kept.image_key}.png" == picture.name
        assert kept.request.recipe.loras == ()

    assert class_pictures(dreambooth, generator, tmp_path) == first
    assert len(generator.asked) == 4


def test_a_run_that_was_killed_goes_on_and_damaged_pictures_are_made_again(
    dreambooth, generator, tmp_path
):
    generator.stops_after = 2
    with pytest.raises(KeyboardInterrupt):
        class_pictures(dreambooth, generator, tmp_path)
    kept = sorted(tmp_path.glob("*.png"))
    assert len(kept) == 2
    kept[0].write_bytes(kept[0].read_bytes()[:200])
    generator.stops_after = None

    found = class_pictures(dreambooth, generator, tmp_path)

    assert len(found) == 4
    assert len(generator.asked) == 2 + 3
    assert len(list(tmp_path.iterdir())) == 4


def test_what_cannot_be_made_is_told_and_the_rest_is_kept(dreambooth, generator, tmp_path):
    generator.fails = {2}

    with pytest.raises(GenerationError, match=r"1 of 4 class pictures .* seed \d+: out of memory"):
        class_pictures(dreambooth, generator, tmp_path)

    assert len(list(tmp_path.glob("*.png"))) == 3


def test_more_pictures_use_those_there_are(config, base, generator, tmp_path):
    wanted = SUBJECT | {"class_pictures": 6}
    few = class_pictures(config(base=base, subject=SUBJECT), generator, tmp_path)
    more = class_pictures(config(base=base, subject=wanted), generator, tmp_path)

    assert more[:4] == few
    assert len(generator.asked) == 6


def test_without_a_class_nothing_is_made(config, generator, tmp_path):
    assert class_pictures(config(), generator, tmp_path) == []
    assert class_pictures(config(subject={"instance_prompt": "a zog"}), generator, tmp_path) == []
    assert not generator.asked


def test_the_recipe_is_the_models_own_in_the_size_of_the_training(config):
    (builtin, *_) = class_requests(config(base="builtin", subject=SUBJECT))
    (sized, *_) = class_requests(config(data={"size": [32, 64]}, subject=SUBJECT))

    # models/builtin/teststrip.json: default_recipe
    assert builtin.recipe.steps == 12
    assert builtin.recipe.guidance == 2.0
    assert (builtin.recipe.width, builtin.recipe.height) == (64, 64)
    assert (sized.recipe.width, sized.recipe.height) == (32, 64)


def test_class_pictures_are_trained_beside_the_subject_and_never_held_out(
    dreambooth, generator, tmp_path
):
    classes = class_pictures(dreambooth, generator, tmp_path / "classes")

    prepared = prepare(dreambooth, tmp_path / "run", classes)

    assert prepared.classes == tuple(classes)
    assert not any(p.is_class for p in (*prepared.train, *prepared.held_out))
    rows = (*prepared.train, *prepared.classes)
    found = Examples(rows, dreambooth, open_model(dreambooth, "cpu"), tmp_path / "cache")
    batch = found.batch([0, len(found) - 1], None)
    assert batch.is_class.tolist() == [False, True]
    assert batch.texts[1] == "a thing"
    alone = prepare(dreambooth, tmp_path / "other")
    assert alone.dataset_hash != prepared.dataset_hash


def test_a_class_prompt_without_its_weight_is_refused(config):
    with pytest.raises(ConfigError, match="class_prompt and prior_weight go together"):
        config(subject={"instance_prompt": "a zog", "class_prompt": "a thing"})


def test_no_class_picture_is_made_before_the_subjects_pictures_are_found_right(
    dreambooth, generator, tmp_path
):
    (tmp_path / "empty").mkdir()
    data = dreambooth.data.model_copy(update={"source": str(tmp_path / "empty")})
    wrong = dreambooth.model_copy(update={"data": data})

    def make():
        return class_pictures(dreambooth, generator, tmp_path / "classes")

    with pytest.raises(ConfigError, match="holds no pictures"):
        prepare(wrong, tmp_path / "run", make)
    assert not generator.asked
    assert len(prepare(dreambooth, tmp_path / "run", make).classes) == 4
