"""The examples of docs/openai.md do what they say."""

import json
import re
import subprocess
from pathlib import Path

from teststrip.serve.web.openai_body import ImagesBody

PAGE = (Path(__file__).parents[4] / "docs" / "openai.md").read_text()
ADDRESS = "http://127.0.0.1:8000"


def blocks(language):
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found


def test_the_python_examples_run_one_after_the_other(live, capsys):
    with live() as service:
        names: dict[str, object] = {}
        try:
            for block in blocks("py"):
                assert "client" in block
                exec(block.replace(ADDRESS, service.url), names)
        finally:
            names["client"].close()

    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[:2]] == ["7", "8"]
    assert said[-1].startswith("image_generation.completed ")


def test_the_curl_example_gives_an_address(live):
    with live() as service:
        (block,) = blocks("bash")
        done = subprocess.run(
            ["bash", "-c", block.replace(ADDRESS, service.url)], capture_output=True, check=True
        )

        assert json.loads(done.stdout)["data"][0]["url"].startswith(service.url)


def test_the_table_names_every_field():
    for name in ImagesBody.model_fields:
        assert f"`{name}`" in PAGE, name
