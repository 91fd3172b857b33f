"""Users of a tracking server and their rights, by MLflow's own API, as an administrator.

Asked over REST and not through `mlflow.server.auth.client`: importing that loads the whole server
(MLflow's extra `auth`, seconds), which the machine of an operator need not have.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from teststrip.errors import ConfigError, StorageError
from teststrip.track.rest import API3, Refused, Rest

SHORTEST = 12  # MLflow's rule
PERMISSIONS = ("READ", "EDIT", "MANAGE", "DENY", "NONE")
Kind = Literal["experiment", "registered_model"]
_NOT_THERE = "RESOURCE_DOES_NOT_EXIST"


def new_password() -> str:
    """A password that nobody guesses: 24 letters, digits, - and _ (144 bits)."""
    return secrets.token_urlsafe(18)


class Users:
    """Users of one server. Calls raise ConfigError for what is wrong, StorageError if refused."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def everybody(self) -> list[dict[str, Any]]:
        """Each user: name, is_admin, rights (kind, name, permission) that were given by name."""
        with self._border("list users"):
            found = self._rest.api("GET", "users/list")["users"]
            names: dict[tuple[str, str], str] = {}
            return [
                {
                    "name": user["username"],
                    "is_admin": bool(user["is_admin"]),
                    "rights": self._rights(user["username"], names),
                }
                for user in sorted(found, key=lambda u: str(u["username"]))
            ]

    def add(self, name: str, password: str, *, is_admin: bool = False) -> None:
        """Make a user, who sees nothing until a right is given (unless the server says so)."""
        _check(name, password)
        with self._border(f"add {name!r}"):
            self._rest.api("POST", "users/create", username=name, password=password)
        if is_admin:
            with self._border(f"make {name!r} an administrator"):
                self._rest.api("PATCH", "users/update-admin", username=name, is_admin=True)

    def remove(self, name: str) -> None:
        """Take a user away, with all rights. What the user recorded stays."""
        with self._border(f"remove {name!r}"):
            self._rest.api("DELETE", "users/delete", username=name)

    def set_password(self, name: str, password: str) -> None:
        """Another password, at once; one's own too."""
        _check(name, password)
        own = self._rest.login
        proof = {"current_password": own.password} if name == own.username else {}
        with self._border(f"set the password of {name!r}"):
            self._rest.api(
                "PATCH", "users/update-password", username=name, password=password, **proof
            )

    def grant(
        self, what: str, name: str, permission: str, *, kind: Kind = "experiment"
    ) -> dict[str, str]:
        """Give a right on one experiment or registered model, in place of the one before.

        `permission`: READ; EDIT (and write); MANAGE (and delete, and give rights); DENY; NONE
        takes away what was given. Returns what holds now.
        """
        if permission not in PERMISSIONS:
            raise ConfigError(f"permission {permission!r}: {', '.join(PERMISSIONS)} are accepted")
        number = self._number(what, kind)
        to = {"username": name, "resource_type": kind, "resource_id": number}
        doing = f"give {name!r} {permission} on {what!r}"
        with self._border(doing):
            # There is no call that changes a right; between these two the user has none.
            self._revoke(to)
            if permission != "NONE":
                self._rest.api(
                    "POST", "users/permissions/grant", root=API3, permission=permission, **to
                )
            now = self._rest.api("GET", "users/permissions/get", root=API3, **to)
        return {"user": name, "on": what, "kind": kind, "permission": str(now["permission"])}

    def _revoke(self, to: dict[str, str]) -> None:
        try:
            self._rest.api("POST", "users/permissions/revoke", root=API3, **to)
        except Refused as exc:
            if exc.code != _NOT_THERE or not self._has(to["username"]):
                raise  # else there was nothing to take away

    def _has(self, name: str) -> bool:
        return any(u["username"] == name for u in self._rest.api("GET", "users/list")["users"])

    def _number(self, what: str, kind: Kind) -> str:
        """What the server calls it: experiments have numbers, models their names."""
        with self._border(f"find {kind.replace('_', ' ')} {what!r}"):
            if kind == "registered_model":
                return str(
                    self._rest.api("GET", "registered-models/get", name=what)["registered_model"][
                        "name"
                    ]
                )
            found = self._rest.api("GET", "experiments/get-by-name", experiment_name=what)
        if found["experiment"].get("lifecycle_stage") != "active":
            raise ConfigError(f"experiment {what!r} is deleted; restore it or choose another")
        return str(found["experiment"]["experiment_id"])

    def _rights(self, name: str, names: dict[tuple[str, str], str]) -> list[dict[str, str]]:
        rows = self._rest.api("GET", "users/permissions/list", root=API3, username=name)
        rights = []
        for row in rows["permissions"]:
            kind, number = str(row["resource_type"]), str(row["resource_pattern"])
            if (kind, number) not in names:
                names[kind, number] = self._name_of(kind, number)
            rights.append(
                {"kind": kind, "name": names[kind, number], "permission": str(row["permission"])}
            )
        return sorted(rights, key=lambda right: (right["kind"], right["name"]))

    def _name_of(self, kind: str, number: str) -> str:
        if kind != "experiment" or number == "*":
            return number
        try:
            found = self._rest.api("GET", "experiments/get", experiment_id=number)
        except Refused:
            return number  # it is gone for good; its right stayed
        return str(found["experiment"]["name"])

    @contextmanager
    def _border(self, doing: str) -> Iterator[None]:
        """What the server refuses, in words that say what to do."""
        where = self._rest.address
        try:
            yield
        except (LookupError, TypeError) as exc:
            raise StorageError(
                f"{where}: cannot {doing}: an answer of another shape than MLflow's ({exc!r})"
            ) from exc
        except Refused as exc:
            who = self._rest.login.username or "this token"
            match exc.status, exc.code:
                case 401, _:
                    raise StorageError(
                        f"{where}: cannot {doing}: {who} is refused; set "
                        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
                    ) from exc
                case 403, _:
                    raise StorageError(
                        f"{where}: cannot {doing}: {who} may not; an administrator may"
                    ) from exc
                case _, "RESOURCE_ALREADY_EXISTS":
                    # MLflow's own words hold the SQL statement, and in it the password's hash.
                    raise ConfigError(f"{where}: cannot {doing}: it is there already") from None
                case _, "RESOURCE_DOES_NOT_EXIST":
                    raise ConfigError(f"{where}: cannot {doing}: {exc}") from exc
                case 404 | 405, _:
                    raise StorageError(
                        f"{where}: cannot {doing}: this server has no users of its own "
                        "(TESTSTRIP_TRACK_LOGIN=on, or whoever logs people in before it)"
                    ) from exc
                case _:
                    raise StorageError(f"{where}: cannot {doing}: {exc}") from exc


def _check(name: str, password: str) -> None:
    faults = []
    if not name or ":" in name or name != name.strip() or not name.isprintable():
        faults.append(f"name {name!r}: printable, without a colon or spaces around it")
    if len(password) < SHORTEST:
        faults.append(f"the password is too short: at least {SHORTEST} characters")
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError(f"user: {count}", faults)
