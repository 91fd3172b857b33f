"""compose.yaml as Compose reads it: what each container may do, see and know.

Rendered by Compose itself with the secrets of a fresh .env, so that anchors, variables and
overrides are as they will be. Containers are not started: there is no Docker here.
"""

import itertools
import json
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from teststrip import environment
from teststrip.serve.config import ServiceConfig
from teststrip.serve.environment import read_config
from teststrip.testing.dockerfile import Dockerfile
from teststrip.track.server.config import SECRETS, ServerConfig

pytestmark = pytest.mark.deploy
DEPLOY = Path(__file__).parents[2] / "deploy"
EXAMPLE = (DEPLOY / ".env.example").read_text()
BASE = ("-f", "compose.yaml")
GPU = (*BASE, "-f", "compose.gpu.yaml")
WATCH = ("--profile", "watch")
ONCE = {"migrate", "accounts", "databases", "buckets", "key"}
# Who may know which secret: each program its own, and the one-shots that make the accounts
KNOWN_BY = {
    "TESTSTRIP_TRACK_ADMIN_PASSWORD": {"track", "migrate", "accounts"},
    "TESTSTRIP_TRACK_SECRET_KEY": {"track", "migrate"},
    "TESTSTRIP_SERVICE_SECRET": {"web", "worker"},
    "TESTSTRIP_STUDIO_PASSWORD": {"studio"},
    "TRACK_SERVICE_PASSWORD": {"web", "worker", "studio", "accounts"},
    "POSTGRES_PASSWORD": {"postgres", "databases"},
    "MLFLOW_DB_PASSWORD": {"track", "migrate", "databases"},
    "RABBITMQ_PASSWORD": {"rabbitmq", "web", "worker"},
    "REDIS_PASSWORD": {"valkey", "web", "worker"},
    "S3_ADMIN_SECRET": {"seaweedfs", "buckets"},
    "S3_TRACK_SECRET": {"seaweedfs", "track", "migrate"},
    "S3_SERVICE_SECRET": {"seaweedfs", "web", "worker"},
    "GRAFANA_PASSWORD": {"grafana"},
}


def written(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_0-9]+=", line))


@pytest.fixture(scope="module")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compose") / "env"
    subprocess.run(
        [DEPLOY / "compose.env.sh", "--file", path, "--domain", "example.org"],
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture(scope="module")
def compose(tool, env_file):
    """Compose's `config`, with no variable of ours but those of the file."""

    def run(*flags: str, env: Path = env_file, rc: int = 0, quiet: bool = False) -> Any:
        ask = ("config", "-q") if quiet else ("config", "--format", "json")
        given = (*flags, "--env-file", env, *ask)
        own = set(written(env_file)) | {"REVISION"}
        before = {name: os.environ.pop(name) for name in own if name in os.environ}
        try:
            done = tool("docker-compose", *given, cwd=DEPLOY, rc=rc)
        finally:
            os.environ.update(before)
        return done if rc or quiet else json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def whole(compose) -> dict[str, Any]:
    return compose(*GPU, *WATCH)


@pytest.fixture(scope="module")
def services(whole) -> dict[str, dict[str, Any]]:
    return whole["services"]


@pytest.mark.parametrize("flags", [BASE, (*BASE, *WATCH), GPU, (*GPU, *WATCH)], ids=len)
def test_compose_takes_it(compose, flags):
    compose(*flags, quiet=True)


def test_without_secrets_nothing_starts_and_every_one_is_named(compose, tmp_path):
    bare = tmp_path / "env"
    bare.write_text(EXAMPLE)

    said = compose(*BASE, env=bare, rc=1, quiet=True).stderr

    missing = set(re.findall(r"required variable (\w+) is missing", said))
    assert missing == set(KNOWN_BY), "each secret, and nothing that has a good default"


def test_every_secret_is_known_to_those_who_need_it_and_to_nobody_else(services, env_file):
    secrets = {name: value for name, value in written(env_file).items() if name in KNOWN_BY}

    assert len(set(secrets.values())) == len(KNOWN_BY)
    for name, value in secrets.items():
        who = {service for service, made in services.items() if value in json.dumps(made)}
        assert who == KNOWN_BY[name], name
    for service in services.values():  # arguments can be read by everybody on the machine
        argued = json.dumps([service.get("command"), service.get("entrypoint")])
        assert not any(value in argued for value in secrets.values())


def test_every_container_may_do_as_little_as_it_can(services):
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["pids_limit"] > 0, name
        assert "/tmp" in [mount.split(":")[0] for mount in service["tmpfs"]], name
        assert service["logging"]["options"]["max-size"], name
        assert not service.get("privileged"), name
        assert "mem_limit" in service or name == "worker", name  # its models decide
        assert not any("docker.sock" in json.dumps(v) for v in service.get("volumes", [])), name
    rights = {name: made["cap_add"] for name, made in services.items() if "cap_add" in made}
    assert rights == {
        "caddy": ["NET_BIND_SERVICE"],
        "s3": ["NET_BIND_SERVICE"],
        "dcgm": ["SYS_ADMIN"],
    }
    ours = {name: made for name, made in services.items() if "teststrip-" in made["image"]}
    assert {made["user"] for made in ours.values()} == {"10001:10001"}
    # Of the others, caddy alone is root (see there); these images' own users are not
    assert {n for n, m in services.items() if "user" not in m} == {
        "caddy",
        "prometheus",
        "grafana",
        "dcgm",
    }


def test_images_of_others_are_pinned(services):
    for name, service in services.items():
        if "build" in service:
            assert service["build"]["target"] in Dockerfile(DEPLOY / "docker/Dockerfile").stages
            continue
        pinned = re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", service["image"])
        assert pinned or name == "dcgm", name  # its digest could not be looked up
        assert ":latest" not in service["image"]


def test_there_is_one_door_and_it_is_shut_to_other_machines_until_somebody_says_so(
    compose, services, tmp_path, env_file
):
    ports = {name: made["ports"] for name, made in services.items() if made.get("ports")}
    assert set(ports) == {"caddy"}
    assert {(p["host_ip"], p["published"]) for p in ports["caddy"]} == {
        ("127.0.0.1", "443"),
        ("127.0.0.1", "80"),
    }
    assert not any(made.get("network_mode") == "host" for made in services.values())

    public = tmp_path / "env"
    public.write_text(env_file.read_text())
    subprocess.run(
        [DEPLOY / "compose.env.sh", "--file", public, "--domain", "example.org", "--public"],
        check=True,
        capture_output=True,
    )
    caddy = compose(*BASE, env=public)["services"]["caddy"]
    assert {p["host_ip"] for p in caddy["ports"]} == {"0.0.0.0"}
    assert caddy["environment"]["TLS"] == "public"


def test_networks_let_nobody_out_or_in_but_those_who_must(whole, services):
    joined = {n: set(made.get("networks") or {}) for n, made in services.items()}
    members = {
        network: {name for name, nets in joined.items() if network in nets}
        for network in whole["networks"]
    }

    closed = {name for name, made in whole["networks"].items() if made.get("internal")}
    assert set(whole["networks"]) - closed == {"edge", "out"}
    assert members["edge"] == {"caddy"}
    assert members["out"] == {"web", "worker"}, "webhooks and models"
    assert members["records"] == {"track", "migrate", "postgres", "databases"}
    assert members["disks"] == {"s3", "seaweedfs"}, "SeaweedFS' other ports ask for no key"
    assert members["jobs"] == {"web", "worker", "rabbitmq", "valkey"}
    for data in ("postgres", "rabbitmq", "valkey", "seaweedfs"):
        assert len(joined[data]) == 1
        assert not joined[data] & joined["caddy"]
    assert services["key"]["network_mode"] == "none"


def test_whatever_is_waited_for_is_there_and_can_be_told_when_it_is_ready(services):
    image = Dockerfile(DEPLOY / "docker" / "Dockerfile")
    waited = set()
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            waited.add(other)
            done = "service_completed_successfully"
            assert how["condition"] == (done if other in ONCE else "service_healthy"), (name, other)
            if other not in ONCE:
                target = services[other].get("build", {}).get("target")
                own = services[other].get("healthcheck") or (target and image.health(target))
                assert own, f"{other} has no health check"
    assert waited >= ONCE
    for name in ONCE:
        assert services[name]["restart"].startswith("on-failure:"), name
        assert services[name].get("healthcheck", {}).get("disable", name == "databases"), name


def test_what_is_told_to_the_tracking_server_is_understood_by_it(services):
    for name in ("track", "migrate"):
        config = environment.read(
            ServerConfig, name, files=SECRETS, environ=services[name]["environment"]
        )
        assert config.login == "on"
        assert config.public_url == "https://track.example.org"
        assert not config.migrate, "the one-shot does it"
        assert config.artifacts == "s3://mlflow"
    caddy = services["caddy"]["networks"]["front"]["ipv4_address"]
    assert config.trusted_proxies == (caddy,)


@pytest.mark.parametrize("name", ["web", "worker"])
def test_what_is_told_to_the_service_is_understood_by_it(services, name):
    config = read_config(services[name]["environment"])

    assert isinstance(config, ServiceConfig)
    assert config.kind == "apart"
    assert config.s3_public_endpoint == "https://files.example.org"
    client = {k: v for k, v in services[name]["environment"].items() if k.startswith("MLFLOW")}
    assert set(client) == {f"MLFLOW_TRACKING_{k}" for k in ("URI", "USERNAME", "PASSWORD")}


def test_a_worker_that_is_told_to_go_has_the_time_to_drain(services):
    whole = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", services["worker"]["stop_grace_period"])
    minutes, seconds = (int(part or 0) for part in whole.groups())

    assert 60 * minutes + seconds > ServiceConfig().drain_s


def test_a_port_of_ones_own_is_part_of_every_address(compose, env_file, tmp_path):
    own = tmp_path / "env"
    own.write_text(env_file.read_text().replace("\nPORT=\n", "\nPORT=8443\n"))
    services = compose(*BASE, *WATCH, env=own)["services"]

    assert services["caddy"]["ports"][0]["published"] == "8443"
    named = [
        services["track"]["environment"]["TESTSTRIP_TRACK_PUBLIC_URL"],
        services["web"]["environment"]["TESTSTRIP_SERVICE_S3_PUBLIC_ENDPOINT"],
        services["grafana"]["environment"]["GF_SERVER_ROOT_URL"].rstrip("/"),
    ]
    assert all(address.endswith(".example.org:8443") for address in named)


def test_files_that_are_bound_are_there_and_may_be_read_by_any_user(whole, services):
    bound = [Path(config["file"]) for config in whole["configs"].values()]

    assert not any("content" in config for config in whole["configs"].values()), (
        "Compose cannot put it into a container whose root is read-only"
    )
    assert all(path.stat().st_mode & stat.S_IROTH for path in bound)
    used = {c["source"] for service in services.values() for c in service.get("configs") or []}
    assert used == set(whole["configs"])
    named = {v["source"] for s in services.values() for v in s.get("volumes") or []}
    assert set(whole["volumes"]) <= named
    # Two writers in one volume: those that are meant to
    for volume in whole["volumes"]:
        writers = {
            name
            for name, made in services.items()
            for mount in made.get("volumes") or []
            if mount["source"] == volume and not mount.get("read_only")
        }
        shared = {
            "track": {"track", "migrate"},
            "home": {"worker", "studio"},
            "web": {"web", "key"},
            "keys": {"accounts", "key"},
        }
        assert writers == shared.get(volume, writers), volume
        assert volume in shared or len(writers) == 1, volume


def test_the_example_has_each_variable_that_is_read_and_says_what_it_is(whole):
    text = "".join((DEPLOY / name).read_text() for name in ("compose.yaml", "compose.gpu.yaml"))
    read = set(re.findall(r"\$\{(\w+)", re.sub(r"\$\$\{?\w+", "", text)))
    given = set(written(DEPLOY / ".env.example"))

    assert read - given == {"REVISION"}, "of a build alone"
    assert given - read == set()
    secrets = EXAMPLE.partition("# --- secrets")[2]
    assert set(re.findall(r"(?m)^(\w+)=$", secrets)) == set(KNOWN_BY), "none has a value"


class TestEnvFile:
    """deploy/compose.env.sh"""

    def run(self, path: Path, *flags: str, rc: int = 0) -> str:
        command = [DEPLOY / "compose.env.sh", "--file", path, *flags]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == rc, done.stderr
        return done.stdout + done.stderr

    def test_it_makes_secrets_that_differ_and_shows_none(self, tmp_path):
        said = [self.run(tmp_path / name) for name in "ab"]
        made = [written(tmp_path / name) for name in "ab"]

        for name in KNOWN_BY:
            values = [one[name] for one in made]
            assert values[0] != values[1]
            assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in values)
            assert not any(v in text for v, text in itertools.product(values, said))
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
        assert {p.name for p in tmp_path.iterdir()} == {"a", "b"}, "nothing is left beside it"

    def test_a_second_run_keeps_all_and_adds_what_is_new(self, tmp_path):
        path = tmp_path / "env"
        self.run(path, "--domain", "example.org")
        changed = path.read_text().replace("BIND=127.0.0.1", "BIND=10.0.0.7") + "MINE=kept\n"
        path.write_text(re.sub(r"(?m)^REDIS_PASSWORD=.*\n", "", changed))
        before = written(path)

        said = self.run(path)

        after = written(path)
        assert {k: after[k] for k in before} == before
        assert set(after) - set(before) == {"REDIS_PASSWORD"}
        assert "new secrets: REDIS_PASSWORD\n" in said

    def test_it_makes_a_secret_anew_where_it_is_asked_to(self, tmp_path):
        path = tmp_path / "env"
        self.run(path)
        before = written(path)

        self.run(path, "--rotate", "S3_TRACK_SECRET", "--rotate", "MLFLOW_DB_PASSWORD")

        after = written(path)
        differ = {name for name in after if after[name] != before[name]}
        assert differ == {"S3_TRACK_SECRET", "MLFLOW_DB_PASSWORD"}

    @pytest.mark.parametrize(
        "flags",
        [("--rotate", "DOMAIN"), ("--domain", "a b"), ("--public",), ("--what",)],
        ids=lambda flags: flags[0],
    )
    def test_what_it_cannot_do_it_says_and_writes_nothing(self, tmp_path, flags):
        self.run(tmp_path / "env", *flags, rc=2)

        assert not list(tmp_path.iterdir())
