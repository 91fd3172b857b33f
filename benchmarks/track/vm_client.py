"""Somebody elsewhere, who knows an address and a log-in: a study, a training, a promotion."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from vm_machine import REPOSITORY, Machine
from vm_servers import run

PROGRAM = REPOSITORY / ".venv/bin/teststrip"
CLOUD_KEYS = re.compile(r"^(AWS|GOOGLE|GCP|GCS|AZURE|BOTO|S3|PG|DATABASE|TESTSTRIP_TRACK)", re.I)
MODEL = "posters"
STUDY = """
name: first
prompts:
  items: [a red apple, an owl at night, a blue car, a house, two dogs, a green tree]
  held_out: 0.34
seeds: 2
recipe: {model: builtin, width: 64, height: 64}
space:
  steps: [1, 2]
  guidance: [1, 4]
baseline: {steps: 1, guidance: 2}
scorers: [technical]
objectives: technical.contrast@1
design: {kind: grid}
race: {kind: none, start: 2, top: 4}
"""
TRAINING = """
name: style
base: builtin
data: {source: pictures}
lora: {rank: 2}
steps: 4
batch: 2
every: {log: 1, held_out: 2, checkpoint: 2}
validation:
  prompts: [a red square, a blue square]
  seeds: [0]
  recipe: {steps: 2}
  scorers: [technical]
"""


class Client:
    """A person's process: its environment holds no key of any cloud and of no database."""

    def __init__(self, machine: Machine, login: tuple[str, str], home: Path) -> None:
        home.mkdir(parents=True)
        self.machine, self.login, self.home = machine, login, home
        self.env = machine.client_env(login, home)

    def keys(self) -> list[str]:
        """What it holds of clouds and databases, in variables and below its home: nothing."""
        secrets = [*self.machine.bucket.keys, str(self.machine.postgres.socket)]
        found = [
            name
            for name, value in self.env.items()
            if CLOUD_KEYS.match(name) or any(secret in value for secret in secrets)
        ]
        files = (self.home / name for name in (".aws", ".config/gcloud", ".pgpass"))
        return found + [str(file) for file in files if file.exists()]

    def command(self, *words: object, rc: int = 0, env: dict[str, str] | None = None) -> str:
        """What `teststrip WORDS` says, run where the server's name leads to this machine."""
        return run(
            self.machine.elsewhere(PROGRAM, *words),
            env=self.env | (env or {}),
            cwd=self.home,
            rc=rc,
        )

    def json(self, *words: object) -> Any:
        """The same with --json, read."""
        said = self.command(*words, "--json")
        return json.JSONDecoder().raw_decode(said[said.index("{") :])[0]

    def python(self, script: str, rc: int = 0) -> str:
        """A script of MLflow's own client, in the same environment."""
        command = self.machine.elsewhere(PROGRAM.with_name("python"), "-c", script)
        return run(command, env=self.env, cwd=self.home, rc=rc)


def work(client: Client, say: Callable[[str, str, str], None]) -> None:
    """A study with its confirmation, a promotion and a training; `say` is told what was seen."""
    say("keys of clouds and databases that the client has", "none", _none(client.keys()))
    assert not client.keys(), "it holds keys: what follows would show nothing"
    (client.home / "first.yaml").write_text(STUDY)
    made = client.json("study", "run", "first.yaml")["images"]
    client.command("study", "confirm", "first", "--seeds", "2")
    why = "a trial of the tracking server"
    client.command("study", "promote", "first", "--model-name", MODEL, "--force", "--why", why)
    pictures = client.home / "pictures"
    pictures.mkdir()
    for number in range(6):
        colour = (40 * number, 200 - 30 * number, 90)
        Image.new("RGB", (64, 64), colour).save(pictures / f"{number}.png")
        (pictures / f"{number}.txt").write_text(f"a square {number}")
    (client.home / "style.yaml").write_text(TRAINING)
    client.command("train", "run", "style.yaml")

    seen = json.JSONDecoder().raw_decode(client.python(COUNT))[0]
    say("pictures that the study made", "20", str(made))
    say("pictures that the server gives back", str(made), str(seen["pictures"]))
    say("those with the bytes that lie on the client's disk", str(made), str(seen["same"]))
    say("runs of recipes", "5", str(seen["recipes"]))
    say("runs that did not finish", "0", str(seen["unfinished"]))
    say("trainings, each with its last loss", "1", str(seen["trainings"]))
    say(f"{MODEL}@champion in the registry", "version 1", f"version {seen['champion']}")
    say("runs whose artifacts are not behind the server", "0", str(seen["bare"]))
    objects = client.machine.bucket.objects()
    is_there = all(key.startswith("runs/") for key in objects) and len(objects) > 0
    say("objects in the bucket, all below its prefix", "yes", "yes" if is_there else "no")
    say("keys that it has afterwards", "none", _none(client.keys()))


def _none(found: list[str]) -> str:
    return ", ".join(found) or "none"


COUNT = """
import hashlib, json, os, pathlib
from mlflow import MlflowClient
from teststrip.track import names
from teststrip.track.connection import import_mlflow
from teststrip.track.reader import studies
import_mlflow()
home = pathlib.Path(os.environ["TESTSTRIP_HOME"])
here = {hashlib.sha256(f.read_bytes()).hexdigest()
        for f in (home / "studies/first").rglob("*.png")}
there = {name: hashlib.sha256(record.png(name)).hexdigest()
         for record in studies(home / "nothing-here") for name in record.pictures()}
client = MlflowClient()
experiment = client.get_experiment_by_name("teststrip")
runs = client.search_runs([experiment.experiment_id], max_results=1000)
of_kind = lambda kind: [r for r in runs if r.data.tags.get(names.KIND) == kind]
print(json.dumps({
    "kinds": sorted({r.data.tags.get(names.KIND, "") for r in runs}),
    "pictures": len(there),
    "same": sum(digest in here for digest in there.values()),
    "recipes": len([r for r in runs if names.RECIPE_ID in r.data.tags]),
    "unfinished": len([r for r in runs if r.info.status != "FINISHED"]),
    "trainings": len([r for r in of_kind("training") if "loss" in r.data.metrics]),
    "champion": client.get_model_version_by_alias("posters", "champion").version,
    "bare": len([r for r in runs if not r.info.artifact_uri.startswith("mlflow-artifacts:/")]),
}))
"""
