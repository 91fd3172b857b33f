"""`teststrip track serve` and what keeps a tracking server in order."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json
from teststrip.wire import settings

Host = Annotated[str, typer.Option("--host", help="Address to listen at.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any free one.")]


def serve(host: Host = "127.0.0.1", port: Port = 5000, as_json: Json = False) -> None:
    """MLflow for a team: runs, images and models, behind a log-in.

    Without settings all is in TESTSTRIP_HOME/track: SQLite, a folder of artifacts, a password that
    is made at the first start. PostgreSQL, s3:// and gs:// by TESTSTRIP_TRACK_*, see
    docs/tracking-server.md. Clients need MLFLOW_TRACKING_URI, _USERNAME and _PASSWORD, no more.

    \b
    Examples:
      teststrip track serve
      TESTSTRIP_TRACK_BACKEND=postgresql://mlflow:secret@db/mlflow \\
      TESTSTRIP_TRACK_ARTIFACTS=s3://bucket/runs \\
      TESTSTRIP_TRACK_PUBLIC_URL=https://mlflow.example.org \\
      teststrip track serve --host 0.0.0.0
    """
    from teststrip.wire.serving import Address
    from teststrip.wire.track_server import Started
    from teststrip.wire.track_server import serve as served

    config = configured()

    def say(started: Started) -> None:
        data: dict[str, Any] = {
            "address": started.address,
            "login": started.login,
            "admin": started.admin,
            "password_file": str(started.password_file or "") or None,
        }
        lines = [f"tracking server: {started.address}  (Ctrl-C ends it)"]
        if started.password_file:
            lines.append(f"first user: {started.admin}, password in {started.password_file}")
            if sys.stdout.isatty():  # a log keeps what it is told
                lines.append(f"its password, shown this once: {started.password_file.read_text()}")
        verbs.show(data, as_json, "\n".join(lines))
        sys.stdout.flush()  # also where a script waits for the address

    served(settings().home, config, Address(host, port), say)


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Only look; exit 1 where some wait.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring the databases' schemas up to date: runs and users. Back up first.

    `track serve` does it at its start unless TESTSTRIP_TRACK_MIGRATE=false. Two at once do no
    harm. A schema that a newer MLflow made is refused. SQLite: the old file stays beside the new.

    \b
    Examples:
      teststrip track migrate --check
      teststrip track migrate
    """
    from teststrip.wire.track_keeping import migrate as migrated

    found = migrated(settings().home, configured(), only_look=check)
    data = [
        {"database": s.database, "holds": s.which, "at": s.at, "wanted": s.wanted, "steps": s.steps}
        for s in found
    ]
    was = "wait" if check else "done"
    text = "\n".join(
        f"{s.which}: {s.database}: "
        + ("up to date" if s.is_current else f"{s.steps} migrations {was}")
        for s in found
    )
    verbs.show({"databases": data, "only_looked": check}, as_json, text)
    if check and not all(s.is_current for s in found):
        raise typer.Exit(1)


def gc(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Deleted so long ago: 30d, 12h.")
    ] = "30d",
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; else it is only shown.")] = False,
    as_json: Json = False,
) -> None:
    """Remove for good what was deleted long ago: runs, models, experiments and their artifacts.

    Shows what would go, and how many bytes. What a registered model is made of stays. May run
    beside the server, with the same settings.

    \b
    Examples:
      teststrip track gc
      teststrip track gc --older-than 7d --yes
    """
    from dataclasses import asdict

    from teststrip.wire.track_keeping import gc as collected

    def told(item: Any) -> None:
        if not as_json:
            print(f"removed {item.kind} {item.id}", flush=True)

    found = collected(settings().home, configured(), older_than, remove=yes, told=told)
    going = [one for one in found if not one.kept]
    # an experiment's place holds its runs' places: what runs say is counted once
    inner = {one.experiment for one in found if one.kind != "experiment"}
    alone = [o for o in going if o.kind != "experiment" or o.experiment not in inner]
    size, files = sum(one.bytes for one in alone), sum(one.files for one in alone)
    lines = [
        f"{one.kind} {one.id} {one.name!r}: {one.files} files, {one.bytes:,} bytes"
        + (f"; stays: {one.kept}" if one.kept else "")
        for one in found
        if not yes or one.kept
    ]
    done = "removed" if yes else "would go (--yes removes)"
    lines.append(f"{len(going)} things, {files} files, {size:,} bytes {done}")
    data = {"removed": yes, "items": [asdict(one) for one in found], "bytes": size, "files": files}
    verbs.show(data, as_json, "\n".join(lines))


BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="name.tar or name.tar.gz")]


def backup(file: BackupFile, as_json: Json = False) -> None:
    """Save the embedded store (SQLite and a folder) in one file, while it is served.

    Holds runs, users (their passwords as hashes) and all artifacts, each with its SHA-256. Keep it
    as secret as the server. For PostgreSQL and buckets it says what to do instead.

    \b
    Example:
      teststrip track backup /backups/track-$(date -u +%F).tar
    """
    from teststrip.wire.track_keeping import backup as saved_by

    saved = saved_by(settings().home, configured(), file)
    data = {"file": str(file), "made": saved.made, "files": saved.files, "bytes": saved.bytes}
    verbs.show(data, as_json, f"{file}: {saved.files} files, {saved.bytes:,} bytes")


def restore(
    file: BackupFile,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put aside what is there; it is not removed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring a backup back into TESTSTRIP_HOME. Stop the server first.

    Every byte is checked before anything is touched. The next start migrates an older schema.

    \b
    Examples:
      teststrip track restore /backups/track-2026-11-22.tar
      teststrip track restore /backups/track-2026-11-22.tar --replace
    """
    from teststrip.wire.track_keeping import restore as restored

    saved, aside = restored(settings().home, configured(), file, replace=replace)
    data = {"made": saved.made, "files": saved.files, "bytes": saved.bytes}
    lines = [f"restored: {saved.files} files, {saved.bytes:,} bytes, saved {saved.made}"]
    lines += [f"put aside: {path}" for path in aside]
    verbs.show(data | {"put_aside": [str(p) for p in aside]}, as_json, "\n".join(lines))


def configured() -> Any:
    """The settings, with the logs of this process set up. Raises ConfigError."""
    from teststrip.wire.track_server import read_config, set_up_logs

    config = read_config()
    set_up_logs(config)
    return config
