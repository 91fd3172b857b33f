"""What keeps a tracking server in order: schemas, what was deleted, backups."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from teststrip.errors import ConfigError
from teststrip.track.server.config import ServerConfig
from teststrip.wire.track_server import alone, packages, set_environment

if TYPE_CHECKING:
    from teststrip.track.server.backup import Saved
    from teststrip.track.server.gc import Item
    from teststrip.track.server.schema import State


def migrate(home: Path, config: ServerConfig, *, only_look: bool = False) -> "list[State]":
    """Bring the schemas up to date, or `only_look`; how they were before. Raises StorageError.

    Several at once do no harm: one works, the others wait and find it done.
    """
    from teststrip.track.server.places import places as placed

    places, login = placed(home, config), config.login == "on"
    with packages():
        from teststrip.track.server import schema

        if only_look:
            return schema.states(places, login=login)
        set_environment(places, config)  # the users' migrations import MLflow's server
        return schema.migrate(places, login=login)


def gc(
    home: Path,
    config: ServerConfig,
    older_than: str,
    *,
    remove: bool,
    told: "Callable[[Item], None]",
) -> "list[Item]":
    """What was deleted longer ago than `older_than` ("30d"); with `remove` it goes for good.

    `told` is called for each that has gone. Raises ConfigError, StorageError.
    """
    from teststrip.track.server.places import places as placed

    places = placed(home, config)
    with packages():
        from teststrip.track.server import checks, schema
        from teststrip.track.server import gc as collecting

        older_s = collecting.age_s(older_than)
        schema.check(places, login=config.login == "on")
        checks.check_artifacts(places, config)
        found = collecting.find(places, config, older_s)
        if remove:
            set_environment(places, config)
            collecting.remove(places, config, found, told)
        return found


def backup(home: Path, config: ServerConfig, file: Path) -> "Saved":
    """The embedded store as one file, while it is served. Raises ConfigError, StorageError."""
    from teststrip.track.server.backup import save
    from teststrip.track.server.places import places

    return save(places(home, config), file)


def restore(
    home: Path, config: ServerConfig, file: Path, *, replace: bool
) -> "tuple[Saved, list[Path]]":
    """Bring a backup back; also where that lies now which it replaced.

    Raises ConfigError where a store is there and `replace` is not set, StudyError where a server
    runs on it, StorageError.
    """
    from teststrip.track.server.backup import check_embedded
    from teststrip.track.server.places import places as placed
    from teststrip.track.server.restore import restore as restored

    places = placed(home, config)
    check_embedded(places)
    if not file.is_file():
        raise ConfigError(f"{file}: no such file")
    with alone(places):
        return restored(places, file, replace=replace)
