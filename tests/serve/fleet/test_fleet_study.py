"""A study on the service: the same scores as here; stopped and gone on with; the command."""

import json

import pytest
import yaml

from teststrip.cli.main import main
from teststrip.study import Study
from teststrip.testing.instant import InstantStepper

STUDY = {
    "name": "far",
    "prompts": ["a red apple", "a cat", "a lamp"],
    "seeds": {"per_prompt": 2},
    "recipe": {"steps": 2},
    "space": {"guidance": [3, 7]},
    "scorers": ["technical"],
    "objectives": ["technical.entropy"],
    "race": {"kind": "none"},
}


class Here:
    """The workers' stepper as a generator of this process."""

    def __init__(self) -> None:
        self.stepper = InstantStepper()

    def fingerprint(self, recipe):
        return self.stepper.fingerprint_of(recipe)

    def generate(self, requests, on_progress=None):
        for request in requests:
            self.stepper.add_request(request)
        while not self.stepper.is_idle:
            yield from self.stepper.step(on_progress)

    def close(self):
        self.stepper.close()


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("TESTSTRIP_HOME", str(tmp_path / "home"))
    path = tmp_path / "far.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    return str(path)


def rows(study: Study):
    import pandas as pd

    table = pd.read_parquet(study.folder.table)
    return table[["recipe_id", "prompt_id", "seed", "technical.entropy@1"]].sort_values(
        ["recipe_id", "prompt_id", "seed"], ignore_index=True
    )


def study(home, url: str) -> Study:
    options = {"generator": {"name": "service", "options": {"url": url}}}
    return Study(STUDY | options, home=home)


def test_its_scores_are_those_of_the_same_study_here(service, tmp_path) -> None:
    far = study(tmp_path, service.url)
    near = Study(STUDY | {"name": "near"}, generator=Here(), home=tmp_path)

    assert far.run().images == near.run().images == 18

    assert rows(far).equals(rows(near))


def test_the_command_runs_a_study_on_the_service(service, file, capsys) -> None:
    args = ["study", "run", file, "--generator", "service", "--url", service.url]

    code = main(
        [*args, "--set", "seeds.per_prompt=1", "--set", "race.start=1", "--no-track", "--json"]
    )

    assert code == 0
    assert json.loads(capsys.readouterr().out)["images"] == 9
    assert Study.open("far").config.generator.options == {"url": service.url}
    assert all(job.priority == "sweep" for job in service.jobs())


def test_a_stopped_study_goes_on_at_another_address(a_service, tmp_path) -> None:
    def stop(event) -> None:
        if event.kind == "image" and event.images == 3:
            raise KeyboardInterrupt

    with a_service(step_s=0.01, slots=2) as service:
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path, service.url).run(stop)
        moved = service.url.replace("127.0.0.1", "localhost")
        result = study(tmp_path, moved).run()

        assert result.images == 18
        done = [job for job in service.jobs() if job.state == "done"]
        assert len({(job.recipe.recipe_id, job.prompt, job.seeds) for job in done}) == 18


def test_a_url_without_a_service_is_wrong_use(file, capsys) -> None:
    assert main(["study", "run", file, "--url", "http://127.0.0.1:1"]) == 2
    assert "--generator service" in capsys.readouterr().err


def test_a_service_without_a_url_is_wrong_use(file, capsys) -> None:
    assert main(["study", "run", file, "--generator", "service", "--no-track"]) == 2
    assert "url" in capsys.readouterr().err
