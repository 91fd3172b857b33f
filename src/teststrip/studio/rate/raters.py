"""Who rates: a name, given once, kept in a cookie."""

from urllib.parse import quote, unquote

from fastapi import Request
from fastapi.responses import Response

from teststrip.errors import ConfigError

COOKIE = "teststrip_rater"
MOST_CHARS = 40
YEAR_S = 365 * 24 * 3600


def checked(name: str) -> str:
    """A name as it is stored. Raises ConfigError."""
    name = " ".join(name.split())
    if not name or len(name) > MOST_CHARS or not name.isprintable():
        raise ConfigError(f"a name of 1 to {MOST_CHARS} printable characters is accepted")
    return name


def rater_of(request: Request) -> str | None:
    """The name in the cookie; None where there is none yet."""
    try:
        return checked(unquote(request.cookies.get(COOKIE, "")))
    except ConfigError:
        return None


def remember(request: Request, response: Response, name: str) -> None:
    """Keep the name for a year, for this site alone."""
    response.set_cookie(
        COOKIE,
        quote(name),
        max_age=YEAR_S,
        path=_path(request),
        httponly=True,
        samesite="strict",
    )


def forget(request: Request, response: Response) -> None:
    """The next one to come is asked for a name."""
    response.delete_cookie(COOKIE, path=_path(request), httponly=True, samesite="strict")


def _path(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/") + "/rate"
