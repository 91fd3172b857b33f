"""An administrator's day: doctor, backup, damage, restore, new secrets, an outage."""

import shutil
from collections.abc import Callable
from pathlib import Path

from vm_client import Client
from vm_machine import Machine
from vm_refused import API, FILES, SECRET, _make
from vm_units import Unit

Say = Callable[[str, str, str], None]


def keeping(machine: Machine, admin: Client, say: Say) -> None:
    """Every verb of `teststrip-vm` but upgrade, which fetches packages."""
    said = admin.json("track", "doctor")
    failed = [one["name"] for one in said["checks"] if one["status"] == "fail"]
    say("`track doctor` through Caddy: what fails", "nothing", ", ".join(failed) or "nothing")
    login = ("admin", machine.admin_password)
    with machine.http(login) as client:
        kept = _make(client, "before the backup")
    said = machine.vm_tool("teststrip-vm", "backup").splitlines()
    folder = next(line for line in said if line.startswith(str(machine.root)))
    say("secrets and dumps of a backup that others may read", "0", str(_open_files(Path(folder))))
    with machine.http(login) as client:
        client.post(f"{API}/runs/delete", json={"run_id": kept.run}).raise_for_status()
        later = _make(client, "after the backup")
    damaged = Path(f"{folder}-damaged")
    shutil.copytree(folder, damaged)
    with (damaged / "mlflow.dump").open("r+b") as file:
        file.seek(2000)
        file.write(b"damage")
    said = machine.vm_tool("teststrip-vm", "restore", str(damaged), "--yes", rc=1)
    seen = "refused" if "is damaged; nothing was changed" in said else said[-200:]
    say("restore of a damaged backup", "refused", seen)
    shutil.rmtree(damaged)
    machine.vm_tool("teststrip-vm", "restore", folder, "--yes")
    machine.await_health()
    with machine.http(login) as client:
        run = client.get(f"{API}/runs/get", params={"run_id": kept.run}).json()["run"]
        say("a run that was deleted after the backup", "active", run["info"]["lifecycle_stage"])
        answer = client.get(f"{FILES}/{kept.file}")
        say("its file", "the same bytes", "the same bytes" if answer.content == SECRET else "other")
        gone = client.get(f"{API}/runs/get", params={"run_id": later.run})
        say("a run made after the backup", "404", str(gone.status_code))
    machine.vm_tool("teststrip-vm", "rotate", "admin-password")
    with machine.http(login) as client:
        say(
            "the old password",
            "401",
            str(client.get(f"{API}/experiments/get?experiment_id=0").status_code),
        )
    login = ("admin", machine.admin_password)
    before = Unit(machine.root, "teststrip-track").pid
    machine.vm_tool("teststrip-vm", "rotate", "secret-key")
    with machine.http(login) as client:
        answer = client.get(f"{API}/experiments/get?experiment_id=0")
        say("the new password, after a new secret key", "200", str(answer.status_code))
    after = Unit(machine.root, "teststrip-track").pid
    say("the server has begun anew with the key", "yes", "yes" if before != after else "no")
    say("`teststrip-vm check`", "well", machine.vm_tool("teststrip-vm", "check").strip() or "well")
    machine.systemctl("stop", "teststrip-track")
    said = machine.vm_tool("teststrip-vm", "check", rc=1)
    seen = "names it" if "teststrip-track does not run" in said else said
    say("the same while the server is stopped", "names it", seen)
    machine.systemctl("start", "teststrip-track")
    machine.await_health()
    again = machine.install()
    written = [line for line in again.splitlines() if line.startswith("written")]
    say("files that install.sh changes when it is run again", "0", str(len(written)))


def _open_files(folder: Path) -> int:
    files = [one for one in folder.iterdir() if one.is_file()]
    return sum(bool(one.stat().st_mode & 0o077) for one in [*files, folder])
