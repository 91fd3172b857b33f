"""Terraform of Google Cloud: parsed, each argument known to the provider, and as safe as we say.

Not run here: a project of Google Cloud. google_schema.py tells where the list of arguments is from.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hcl2
import pytest

from teststrip import environment
from teststrip.track.server.config import SECRETS, ServerConfig

pytestmark = pytest.mark.deploy

META = {"for_each", "count", "depends_on", "lifecycle", "provider", "dynamic"}
Resources = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def folder(deploy: Path) -> Path:
    return deploy / "gcp"


@pytest.fixture(scope="module")
def parsed(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Every file's blocks together: {"resource": [...], "variable": [...], ...}."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(folder.glob("*.tf")):
        with file.open() as stream:
            for kind, blocks in plain(hcl2.load(stream)).items():
                found.setdefault(kind, []).extend(blocks)
    return found


@pytest.fixture(scope="module")
def resources(parsed: dict[str, list[dict[str, Any]]]) -> Resources:
    return {
        (kind, name): body
        for block in parsed["resource"]
        for kind, named in block.items()
        for name, body in named.items()
    }


@pytest.fixture(scope="module")
def known() -> dict[str, dict[str, Any]]:
    file = Path(__file__).with_name("google_schema.json")
    return json.loads(file.read_text())["resources"]


def plain(value: Any) -> Any:
    """What hcl2 read, without its marks: comments, the quotes of strings, `is a block`."""
    if isinstance(value, dict):
        return {key.strip('"'): plain(v) for key, v in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value[1:-1] if isinstance(value, str) and re.fullmatch(r'".*"', value, re.S) else value


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    else:
        yield str(value)


def faults(body: dict[str, Any], schema: dict[str, Any], where: str) -> list[str]:
    """Arguments that the provider does not know, and those that it wants and are not there."""
    body = dict(body)
    for dynamic in body.get("dynamic", []):
        for name, made in dynamic.items():
            body.setdefault(name, []).extend(made["content"])
    found = [f"{where}: {name} is missing" for name in schema["required"] if name not in body]
    for name, value in body.items():
        if name in META:
            continue
        rule = schema.get(name)
        if rule is None or name in ("required", "readable"):
            found.append(f"{where}: {name} is unknown")
        elif isinstance(rule, dict):
            for inner in value if isinstance(value, list) else [value]:
                found += faults(inner, rule["block"], f"{where}.{name}")
    return found


def test_it_parses_and_is_well_formatted(tool: Callable, folder, resources):
    assert len(resources) > 20
    tool("terraform", "fmt", "-check", folder, env={"TF_CLI_CONFIG_FILE": "/dev/null"})


def test_every_argument_is_one_of_the_provider_and_none_is_missing(resources, known, parsed):
    found = [
        fault
        for (kind, name), body in resources.items()
        for fault in faults(body, known[kind], f"{kind}.{name}")
    ]
    assert found == []
    pinned = parsed["terraform"][0]["required_providers"][0]["google"]["version"]
    listed = json.loads(Path(__file__).with_name("google_schema.json").read_text())["provider"]
    assert pinned == listed["version"]


def test_a_wrong_argument_would_be_found(known):
    schema = known["google_storage_bucket"]
    right = {"name": "b", "location": "eu", "versioning": [{"enabled": True}]}
    assert faults(right, schema, "b") == []
    assert faults(right | {"versioning": [{"enable": True}]}, schema, "b") == [
        "b.versioning: enabled is missing",
        "b.versioning: enable is unknown",
    ]
    assert faults({"name": "b", "locaton": "eu"}, schema, "b") == [
        "b: location is missing",
        "b: locaton is unknown",
    ]


def test_what_is_referred_to_exists(folder, parsed, resources, known):
    text = "".join(
        re.sub(r"^\s*#.*|\s# .*", "", file.read_text(), flags=re.MULTILINE)
        for file in folder.glob("*.tf")
    )
    variables = {name for block in parsed["variable"] for name in block}
    names = {name for block in parsed["locals"] for name in block}
    assert set(re.findall(r"\bvar\.(\w+)", text)) == variables  # none unknown, none unused
    assert set(re.findall(r"\blocal\.(\w+)", text)) == names
    for kind, name, attribute in re.findall(
        r"(?<![\w.])(google_\w+)\.(\w+)(?:\[[^\]]*\])?(?:\.(\w+))?", text
    ):
        if (kind, name) != ("google_project", "this"):  # a data source
            assert (kind, name) in resources
        if attribute and kind in known:
            assert attribute in known[kind]["readable"], f"{kind}.{name}.{attribute}"


def test_every_setting_of_the_server_is_one_that_it_knows(folder):
    text = "".join(file.read_text() for file in folder.glob("*.tf"))
    used = set(re.findall(r"TESTSTRIP_TRACK_(\w+)", text))
    known = {name.upper() for name in ServerConfig.model_fields}
    assert used
    assert used <= known | {f"{name.upper()}_FILE" for name in SECRETS}


@pytest.mark.parametrize("login", ["on", "proxy"])
def test_the_server_takes_the_settings_and_refuses_none_of_them(parsed, login):
    settings = next(b["environment"] for b in parsed["locals"] if "environment" in b)
    host = "teststrip-track-123.europe-west1.run.app"
    given = settings | {
        "TESTSTRIP_TRACK_ARTIFACTS": "gs://a-bucket/artifacts",
        "TESTSTRIP_TRACK_PUBLIC_URL": f"https://{host}",
        "TESTSTRIP_TRACK_ALLOW_HOSTS": host,
        "TESTSTRIP_TRACK_LOGIN": login,
        "TESTSTRIP_TRACK_BACKEND": "postgresql://teststrip:secret@10.0.0.3:5432/mlflow?sslmode=verify-ca",
        "TESTSTRIP_TRACK_ADMIN_PASSWORD": "a" * 24,
        "TESTSTRIP_TRACK_SECRET_KEY": "k" * 64,
    }
    assert not [value for value in given.values() if "${" in value]
    config = environment.read(ServerConfig, "settings", files=SECRETS, environ=given)
    assert config.trusted_proxies == ("127.0.0.1", "169.254.0.0/16")


def test_the_database_has_no_public_address_and_wants_tls(resources):
    settings = resources["google_sql_database_instance", "this"]["settings"][0]
    address = settings["ip_configuration"][0]
    assert address["ipv4_enabled"] is False
    assert "authorized_networks" not in address
    assert address["ssl_mode"] == "ENCRYPTED_ONLY"
    assert "google_compute_network.this" in address["private_network"]
    assert settings["backup_configuration"][0]["point_in_time_recovery_enabled"] is True
    url = resources["google_secret_manager_secret_version", "database"]["secret_data_wo"]
    assert "sslmode=verify-ca&sslrootcert=" in url


def test_the_bucket_is_never_public_and_brings_back_what_was_deleted(resources):
    bucket = resources["google_storage_bucket", "artifacts"]
    assert bucket["public_access_prevention"] == "enforced"
    assert bucket["uniform_bucket_level_access"] is True
    assert bucket["versioning"] == [{"enabled": True}]


def test_everybody_is_let_in_only_where_the_servers_own_log_in_was_asked_for(resources, parsed):
    open_ones = [key for key, body in resources.items() if "allUsers" in "".join(strings(body))]
    assert open_ones == [("google_cloud_run_v2_service_iam_member", "invoker")]
    member = resources[open_ones[0]]["member"]
    assert member == '${var.access == "iap" ? local.iap_agent : "allUsers"}'
    access = next(b["access"] for b in parsed["variable"] if "access" in b)
    assert access["default"] == "iap"
    settings = next(b["environment"] for b in parsed["locals"] if "environment" in b)
    # The server believes Google's log-in only where Google asks; else it asks itself.
    assert settings["TESTSTRIP_TRACK_LOGIN"] == '${var.access == "iap" ? "proxy" : "on"}'
    service = resources["google_cloud_run_v2_service", "track"]
    assert service["iap_enabled"] == '${var.access == "iap"}'


def test_rights_are_given_on_single_things_and_are_small(resources):
    roles = {
        (kind, name): body["role"]
        for (kind, name), body in resources.items()
        if kind.endswith(("_iam_member", "_iam_binding", "_iam_policy"))
    }
    assert roles == {
        ("google_storage_bucket_iam_member", "server"): "roles/storage.objectUser",
        ("google_secret_manager_secret_iam_member", "server"): "roles/secretmanager.secretAccessor",
        ("google_service_account_iam_member", "ci"): "roles/iam.workloadIdentityUser",
        ("google_artifact_registry_repository_iam_member", "ci"): "roles/artifactregistry.writer",
        (
            "google_iap_web_cloud_run_service_iam_member",
            "member",
        ): "roles/iap.httpsResourceAccessor",
        ("google_cloud_run_v2_service_iam_member", "invoker"): "roles/run.invoker",
    }  # so none on the project, and no owner, editor or admin
    template = resources["google_cloud_run_v2_service", "track"]["template"][0]
    assert template["service_account"] == "${google_service_account.server.email}"
    job = resources["google_cloud_run_v2_job", "migrate"]["template"][0]["template"][0]
    assert job["service_account"] == "${google_service_account.server.email}"


def test_no_account_has_a_key_and_only_one_repository_and_branch_comes_in(resources):
    assert not [kind for kind, _ in resources if kind == "google_service_account_key"]
    github = resources["google_iam_workload_identity_pool_provider", "github"]
    assert "assertion.repository == '${each.key}'" in github["attribute_condition"]
    assert "assertion.ref == 'refs/heads/${var.ci_branch}'" in github["attribute_condition"]
    assert github["oidc"] == [{"issuer_uri": "https://token.actions.githubusercontent.com"}]
    member = resources["google_service_account_iam_member", "ci"]["member"]
    assert member.endswith("/attribute.repository/${each.key}")


def test_secrets_are_only_ever_written_and_pinned_by_number(folder, resources):
    for (kind, name), body in resources.items():
        if kind == "google_secret_manager_secret_version" and name != "database_ca":
            assert "secret_data_wo" in body
            assert "secret_data" not in body
    user = resources["google_sql_user", "server"]
    assert "password_wo" in user
    assert "password" not in user
    text = "".join(file.read_text() for file in folder.glob("*.tf"))
    assert 'ephemeral "random_password"' in text
    assert 'resource "random_' not in text
    assert '"latest"' not in text
    references = re.findall(r"secret_key_ref \{[^}]*version += (\S+)", text)
    assert references == ["local.version[env.key]", "local.version.database"]


def test_nothing_runs_while_nobody_asks_and_images_are_named_by_digest(resources, parsed):
    template = resources["google_cloud_run_v2_service", "track"]["template"][0]
    assert template["scaling"][0]["min_instance_count"] == 0
    assert all(c["resources"][0]["cpu_idle"] is True for c in template["containers"])
    probes = {c["name"]: c.get("startup_probe") for c in template["containers"]}
    assert probes["server"][0]["http_get"] == [{"path": "/health", "port": 5000}]
    assert probes["server"][0]["failure_threshold"] * probes["server"][0]["period_seconds"] <= 240
    for name in ("image", "proxy_image"):
        rule = next(b[name] for b in parsed["variable"] if name in b)["validation"][0]
        assert "@sha256:[0-9a-f]{64}" in rule["condition"]
    versions = [b[p]["version"] for b in parsed["terraform"][0]["required_providers"] for p in b]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
