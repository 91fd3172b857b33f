"""Terraform of AWS, without an AWS: it is valid, refuses bad settings, and is what we say."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from teststrip.track.server.config import SECRETS, ServerConfig

pytestmark = pytest.mark.deploy

IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/teststrip-track@sha256:" + "0" * 64
FAULTS = {
    "region": ("Frankfurt", "A region is written like eu-central-1"),
    "name": ("Teststrip!", "small letters, digits and hyphens"),
    "host_name": ("https://mlflow.example.org", "without https://"),
    "image": ("teststrip-track:latest", "by digest"),
    "allow_cidrs": (["everybody"], "in the form 203.0.113.0/24"),
    "database_ca_file": ("/dev/null", "No PEM file with certificates"),
    "replicas": (-1, "0 to 10"),
    "task_cpu": (333, "512, 1024"),
    "task_memory": (1500, "multiple of 1024"),
    "database_gib": (5, "20 GiB"),
    "backup_days": (0, "no database without backups"),
}


@pytest.fixture(scope="module")
def terraform(
    tool: Callable, deploy: Path, aws_plugins: dict[str, str], tmp_path_factory
) -> Callable:
    folder = tmp_path_factory.mktemp("aws")
    for file in [*deploy.glob("aws/*.tf"), *deploy.glob("aws/*.py")]:
        shutil.copy(file, folder)
    tool("terraform", "init", "-input=false", "-backend=false", cwd=folder, env=aws_plugins)

    def run(*args: object, **kwargs: object):
        return tool("terraform", *args, "-no-color", cwd=folder, env=aws_plugins, **kwargs)

    run.folder = folder
    return run


def test_it_is_valid_and_well_formatted(terraform):
    assert json.loads(terraform("validate", "-json").stdout)["valid"]
    terraform("fmt", "-check", "-recursive")


def test_an_argument_that_the_provider_does_not_know_would_be_found(terraform):
    file = terraform.folder / "database.tf"
    right = file.read_text()
    file.write_text(right.replace("publicly_accessible", "publicly_acessible"))
    try:
        answer = json.loads(terraform("validate", "-json", rc=1).stdout)
    finally:
        file.write_text(right)
    assert "publicly_acessible" in answer["diagnostics"][0]["detail"]


def test_bad_settings_are_refused_all_at_once_and_say_what_is_accepted(terraform, tmp_path):
    values = {name: bad for name, (bad, _) in FAULTS.items()}
    file = tmp_path / "bad.tfvars.json"
    file.write_text(json.dumps(values))
    said = terraform("plan", "-input=false", f"-var-file={file}", rc=1).stderr
    said = re.sub(r"\s*\n[│\s]*", " ", said)  # it breaks lines where it likes
    for name, (_, hint) in FAULTS.items():
        assert hint in said, name
    assert "Give zone_id" in said  # neither that nor a certificate


def test_every_setting_of_the_server_is_one_that_it_knows(deploy):
    text = "".join(file.read_text() for file in deploy.glob("aws/*.tf"))
    used = set(re.findall(r"TESTSTRIP_TRACK_(\w+)", text))
    known = {name.upper() for name in ServerConfig.model_fields}
    assert used
    assert used <= known | {f"{name.upper()}_FILE" for name in SECRETS}


def test_versions_are_pinned_and_no_credentials_stand_in_the_files(deploy):
    texts = {file.name: file.read_text() for file in deploy.glob("aws/*") if file.is_file()}
    assert re.search(r'version += "\d+\.\d+\.\d+"', texts["versions.tf"])
    assert not [name for name, text in texts.items() if re.search(r"AKIA|BEGIN .*PRIVATE", text)]
    assert "*.tfvars" in texts[".gitignore"]
    assert "terraform.tfstate*" in texts[".gitignore"]


def test_passwords_are_only_ever_written_never_kept_in_the_state(deploy):
    text = "".join(file.read_text() for file in deploy.glob("aws/*.tf"))
    assert "secret_string_wo " in text
    assert not re.search(r"\bsecret_string\s*=", text)
    assert not re.search(r'(resource|data) "(random_password|aws_secretsmanager_random)', text)
    assert not re.search(r"^\s*password\s*=", text, re.MULTILINE)  # RDS keeps the master's
