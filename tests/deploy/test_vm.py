"""deploy/vm: what install.sh writes, and what Caddy, systemd and the server itself say of it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from teststrip import environment
from teststrip.errors import ConfigError
from teststrip.track.server.config import SECRETS, ServerConfig

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "track"))
from vm_certificates import Authority
from vm_units import Unit

pytestmark = pytest.mark.deploy
VM = Path(__file__).parents[2] / "deploy" / "vm"
UNITS = sorted(one.name for one in (VM / "systemd").iterdir())
SERVICES = [name for name in UNITS if name.endswith(".service")]
# Most that systemd's own judgement may come to (0 is closed, 10 is open); root runs the last two.
EXPOSED = {"track": 1.5, "caddy": 1.7, "backup": 2.6, "check": 2.2}


def install(stage, *flags, rc=0):
    done = subprocess.run(
        [VM / "install.sh", "--python", sys.executable, *map(str, flags)]
        + (["--stage", stage] if stage else []),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == rc, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def stage(tmp_path):
    """A root folder in which the programs are that units name."""
    root = tmp_path / "root"
    for name in ("opt/teststrip/current/bin/teststrip", "usr/bin/caddy"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("#!/bin/sh\n")
        (root / name).chmod(0o755)
    return root


@pytest.fixture
def installed(stage):
    install(stage, "--domain", "mlflow.example.org", "--email", "ops@example.org")
    return stage


def verified(tool, root, name, rc):
    """What systemd says of a unit, on a machine that has systemd's own targets besides."""
    there = root / "usr/lib/systemd/system"
    there.mkdir(parents=True, exist_ok=True)
    for own in Path("/usr/lib/systemd/system").glob("*.target"):
        shutil.copy(own, there)
    return tool("systemd-analyze", "verify", f"--root={root}", "--man=no", name, rc=rc).stderr


def contents(root):
    return {p: p.read_bytes() for p in (root / "etc").rglob("*") if p.is_file()}


def test_secrets_are_made_for_root_alone_and_each_machine_has_its_own(installed, tmp_path):
    install(tmp_path / "other", "--domain", "b.example.org", "--internal-ca")
    folder = installed / "etc/teststrip/secrets"

    assert folder.stat().st_mode & 0o777 == 0o700
    for name in ("admin-password", "secret-key", "backend", "aws-credentials"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    made = [(folder / n).read_text().strip() for n in ("admin-password", "secret-key")]
    made += [
        (tmp_path / "other/etc/teststrip/secrets" / n).read_text().strip()
        for n in ("admin-password", "secret-key")
    ]
    assert len(set(made)) == 4
    assert all(len(one) >= 32 for one in made)
    shown = b"".join(v for p, v in contents(installed).items() if p.parent != folder)
    assert not any(one.encode() in shown for one in made)


def test_a_second_run_changes_nothing_and_needs_no_flags(installed):
    before = contents(installed)

    said = install(installed)

    assert contents(installed) == before
    assert "written" not in said
    assert "restart" not in said


def test_a_changed_flag_changes_its_settings_and_keeps_the_rest(installed, tmp_path):
    before = contents(installed)
    certificate, key = Authority(tmp_path / "tls").certificate("mlflow.example.org")

    said = install(installed, "--certificate", certificate, "--key", key)
    certificate.unlink()
    install(installed)  # the copy is what counts from now on

    after = contents(installed)
    changed = {p.name for p in after if after[p] != before.get(p)}
    assert changed == {"caddy.env", "install.conf", "certificate.pem", "key.pem"}
    assert "restart teststrip-track.service teststrip-caddy.service" in said
    key_copy = installed / "etc/teststrip/tls/key.pem"
    assert key_copy.stat().st_mode & 0o007 == 0


def test_a_dry_run_tells_all_and_does_nothing(tmp_path):
    said = install(None, "--dry-run", "--domain", "mlflow.example.org", "--internal-ca")

    assert not Path("/etc/teststrip").exists()
    for what in ("/etc/teststrip/Caddyfile", "databases.sql", "useradd", "systemctl enable"):
        assert what in said


def test_all_faults_of_the_flags_are_told_at_once(tmp_path):
    said = install(
        tmp_path / "root",
        *("--domain", "no name", "--artifacts", "somewhere", "--port", "x"),
        *("--certificate", tmp_path / "none.pem"),
        rc=2,
    )

    for what in ("--domain 'no name'", "--key FILE", "--artifacts 'somewhere'", "'x' is no port"):
        assert what in said
    assert "none.pem cannot be read" in said
    assert not (tmp_path / "root").exists()


def test_a_name_cannot_bring_lines_into_the_settings(tmp_path):
    said = install(tmp_path, "--domain", "a.org\nPORT=1", "--email", "o@a.org", rc=2)
    assert "--domain" in said
    said = install(tmp_path, "--domain", "a.org", "--email", "o@a.org {\n", rc=2)
    assert "--email" in said


def test_the_server_takes_the_settings_that_its_unit_gives(installed):
    unit = Unit(installed, "teststrip-track")
    unit.credentials.mkdir(parents=True)
    for line in unit.lines["LoadCredential"]:
        name, _, source = line.partition(":")
        (unit.credentials / name).write_bytes(Path(unit.here(source)).read_bytes())
    env = unit.environment()

    config = environment.read(ServerConfig, "settings", files=SECRETS, environ=env)

    assert config.public_url == "https://mlflow.example.org"
    assert config.login == "on"
    assert config.admin_password.get_secret_value() not in str(env)
    assert config.backend.get_secret_value().endswith("host=/var/run/postgresql")
    with pytest.raises(ConfigError):  # a check that cannot fail is none
        environment.read(ServerConfig, "x", environ=env | {"TESTSTRIP_TRACK_PUBLIC": "y"})


def test_the_server_listens_to_this_machine_alone():
    unit = (VM / "systemd/teststrip-track.service").read_text()
    assert "track serve --host 127.0.0.1 --port ${PORT}" in unit
    assert "reverse_proxy 127.0.0.1:{$PORT:5000}" in (VM / "Caddyfile").read_text()


@pytest.mark.parametrize("flags", [("--email", "ops@example.org"), ("--internal-ca",), ("files",)])
def test_caddy_takes_its_file_with_every_kind_of_certificate(stage, tmp_path, flags, tool):
    if flags == ("files",):
        certificate, key = Authority(tmp_path / "tls").certificate("mlflow.example.org")
        flags = ("--certificate", certificate, "--key", key)
    install(stage, "--domain", "mlflow.example.org", *flags)
    env = Unit(stage, "teststrip-caddy").environment()
    file = stage / "etc/teststrip/Caddyfile"

    tool("caddy", "validate", "--adapter", "caddyfile", "--config", file, env=env)
    tool("caddy", "fmt", "--diff", file)

    listed = tool("caddy", "adapt", "--adapter", "caddyfile", "--config", file, env=env).stdout
    assert '"admin":{"listen":"unix/' in listed  # not a port that every user could speak to
    file.write_text(file.read_text().replace("reverse_proxy", "reverse_porxy"))
    tool("caddy", "validate", "--adapter", "caddyfile", "--config", file, env=env, rc=1)


@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_the_unit(installed, name, tool):
    said = verified(tool, installed, name, rc=0)
    assert name not in said


def test_systemd_says_so_where_it_does_not(installed, tool):
    file = installed / "etc/systemd/system/teststrip-track.service"
    file.write_text(file.read_text().replace("NoNewPrivileges", "NoNewPrivilegs"))
    assert "Unknown key 'NoNewPrivilegs'" in verified(tool, installed, file.name, rc=(0, 1))
    (installed / "opt/teststrip/current/bin/teststrip").unlink()
    assert "is not executable" in verified(tool, installed, file.name, rc=1)


@pytest.mark.parametrize("name", SERVICES)
def test_the_sandbox_of_a_unit_is_closed(installed, name, tool):
    limit = EXPOSED[name.removeprefix("teststrip-").removesuffix(".service")]
    tool(
        "systemd-analyze",
        "security",
        *("--offline=true", f"--root={installed}", "--no-pager", f"--threshold={int(limit * 10)}"),
        name,
    )


def test_the_timers_have_their_services_and_a_calendar(tool):
    for name in UNITS:
        if name.endswith(".timer"):
            assert name.replace(".timer", ".service") in UNITS
            text = (VM / "systemd" / name).read_text()
            for when in re.findall(r"^OnCalendar=(.+)$", text, re.MULTILINE):
                tool("systemd-analyze", "calendar", when)


def test_its_verbs_say_what_they_are_and_refuse_others(installed):
    env = os.environ | {"TESTSTRIP_VM_ROOT": str(installed)}
    script = VM / "teststrip-vm.sh"
    for words, rc, told in [
        ((), 2, "teststrip-vm restore FOLDER --yes"),
        (("restore", "/nowhere"), 1, "restore FOLDER --yes"),
        (("restore", "/nowhere", "--yes"), 1, "/nowhere is no backup"),
        (("rotate", "all"), 1, "admin-password or secret-key"),
        (("unpack", "/nowhere"), 1, "/nowhere does not exist"),
    ]:
        done = subprocess.run(
            [script, *words], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == rc, done
        assert told in done.stdout + done.stderr
