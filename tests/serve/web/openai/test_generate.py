"""The official client makes pictures, unchanged."""

import base64
import io

import httpx
import openai
import pytest
from PIL import Image

from teststrip import Block, Recipe, Request, png
from teststrip.testing.instant import InstantStepper


def picture(item):
    return Image.open(io.BytesIO(base64.b64decode(item.b64_json)))


def expected(prompt, seed, **fields):
    request = Request(recipe=Recipe(**fields), block=Block(prompt=prompt, seed=seed))
    return InstantStepper().pixels(request)


def test_a_prompt_becomes_a_picture_with_its_settings_inside(live):
    with live() as service:
        answer = service.client().images.generate(prompt="a red apple")

        assert len(answer.data) == 1
        assert answer.size == "64x64"
        assert answer.output_format == "png"
        assert answer.created > 1_700_000_000
        inside = png.read(base64.b64decode(answer.data[0].b64_json))
        assert inside.request.block.prompt == "a red apple"
        assert inside.request.block.seed == answer.data[0].seed
        assert answer.teststrip["recipe_id"] == inside.request.recipe.recipe_id


def test_extensions_decide_the_recipe_and_seeds_count_up(live):
    with live() as service:
        answer = service.client().images.generate(
            model="builtin",
            prompt="a mug",
            n=2,
            size="96x48",
            response_format="b64_json",
            user="ann",
            extra_body={
                "seed": 7,
                "negative_prompt": "blurry",
                "num_inference_steps": 3,
                "guidance_scale": 2.5,
                "scheduler": "euler",
            },
        )

        fields = {
            "steps": 3,
            "guidance": 2.5,
            "scheduler": "euler",
            "negative_prompt": "blurry",
            "width": 96,
            "height": 48,
        }
        assert [item.seed for item in answer.data] == [7, 8]
        for item in answer.data:
            got = png.read(base64.b64decode(item.b64_json)).request
            assert got.recipe == Recipe(**fields)
            assert (picture(item).size) == (96, 48)
            assert (expected("a mug", item.seed, **fields) == picture(item)).all()
        assert service.jobs()[0].labels == {"user": "ann"}


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_pictures_come_in_other_formats(live, kind):
    with live() as service:
        answer = service.client().images.generate(
            prompt="a mug", output_format=kind, output_compression=80
        )

        assert picture(answer.data[0]).format == kind.upper()


def test_an_address_leads_to_the_picture_without_a_key(live):
    with live() as service:
        answer = service.client().images.generate(prompt="a mug", response_format="url")

        assert answer.data[0].b64_json is None
        found = httpx.get(answer.data[0].url)
        assert found.status_code == 200
        assert png.read(found.content).request.block.prompt == "a mug"


def test_models_are_listed_the_default_first_and_found_by_name(live):
    with live() as service:
        client = service.client()

        assert [model.id for model in client.models.list()] == ["default", "builtin"]
        assert client.models.retrieve("builtin").object == "model"
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve("org/other")
        assert caught.value.code == "model_not_found"


async def _async(url):
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="-") as client:
        return await client.images.generate(prompt="a mug", n=3)


def test_the_async_client_works_too(live):
    with live() as service:
        import asyncio

        assert len(asyncio.run(_async(service.url)).data) == 3


def test_every_answer_names_its_request(live):
    with live() as service:
        raw = service.client().images.with_raw_response.generate(prompt="a mug")

        record = service.jobs()[0]
        assert raw.request_id == f"req_{record.key}"
        assert raw.headers["x-teststrip-job"] == record.id
