"""MLflow's REST API, asked directly: every request once, within a time limit, with a clear error.

MLflow's own client repeats requests and hides what a proxy answered; whoever looks after a server
needs the first answer as it was. TLS is always verified here.
"""

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from teststrip.errors import ConfigError, MissingExtra, StorageError

API = "/api/2.0/mlflow"
API3 = "/api/3.0/mlflow"
CERTIFICATES = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Refused(StorageError):  # noqa: N818 - says what happened
    """The server answered, but not with 200. `status`: HTTP's; `code`: MLflow's, often empty."""

    def __init__(self, message: str, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Unreachable(StorageError):  # noqa: N818 - says what happened
    """No answer came: no such host, nobody listens, TLS, time-out, or a closed connection."""


@dataclass(frozen=True)
class Login:
    """Who asks: a user with a password, or a token. Never shown."""

    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.username or self.token)

    @property
    def headers(self) -> dict[str, str]:
        """The Authorization header; empty for nobody."""
        import base64

        if self.username:
            pair = f"{self.username}:{self.password}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


NOBODY = Login()


def login_of(environ: Mapping[str, str]) -> Login:
    """As MLflow's client finds it: MLFLOW_TRACKING_USERNAME, _PASSWORD, _TOKEN, its own file."""
    from_file = configparser.ConfigParser(interpolation=None)
    from_file.read(Path(environ.get("HOME", "~")).expanduser() / ".mlflow" / "credentials")
    kept = dict(from_file["mlflow"]) if from_file.has_section("mlflow") else {}
    name = environ.get("MLFLOW_TRACKING_USERNAME") or kept.get("mlflow_tracking_username", "")
    password = environ.get("MLFLOW_TRACKING_PASSWORD") or kept.get("mlflow_tracking_password", "")
    return Login(name, password, "" if name else environ.get("MLFLOW_TRACKING_TOKEN", ""))


def checked_address(given: str) -> str:
    """An http(s) address without a password and without a trailing slash. Raises ConfigError."""
    parts = urlsplit(given)
    if parts.password or parts.username:
        raise ConfigError(
            "the address holds a log-in, which other users of this machine can read; set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
        )
    try:
        is_fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        is_fine = False
    if not is_fine or parts.query or parts.fragment:
        raise ConfigError(
            f"{given!r} is no address of a tracking server; write https://mlflow.example.org, or "
            "set MLFLOW_TRACKING_URI"
        )
    return given.rstrip("/")


def certificates(environ: Mapping[str, str]) -> str:
    """The file of certificates that are trusted: the environment's, else requests' own."""
    try:
        from certifi import where
    except ModuleNotFoundError as exc:
        raise MissingExtra("asking a tracking server", "track") from exc
    return next((environ[name] for name in CERTIFICATES if environ.get(name)), where())


class Rest:
    """One server, one kept-alive connection. `timeout_s`: to connect, and between two answers.

    `address` without a trailing slash. All calls raise Unreachable; `api` also Refused.
    """

    def __init__(
        self,
        address: str,
        login: Login,
        *,
        timeout_s: float = 30.0,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        trusted = certificates(os.environ if environ is None else environ)
        import requests

        self.address = address
        self.login = login
        self._timeout_s = timeout_s
        self._session = requests.Session()
        # Said so here, else requests looks for a log-in in ~/.netrc and sends that.
        self._session.auth = _unchanged
        if address.startswith("https:") and not Path(trusted).exists():
            raise ConfigError(f"{trusted}: no such file of certificates ({CERTIFICATES[0]})")
        # Given with each request: requests prefers REQUESTS_CA_BUNDLE to a session's own.
        self._verify = trusted

    def close(self) -> None:
        """Let the connection go."""
        self._session.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        login: Login | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        **more: Any,
    ) -> Any:
        """Whatever comes back, as requests' Response; redirects are not followed.

        `login`: another one than this connection's; NOBODY sends none. Raises Unreachable.
        """
        import requests

        who = self.login if login is None else login
        try:
            return self._session.request(
                method,
                self.address + path,
                headers=dict(headers or {}) | who.headers,
                timeout=timeout_s or self._timeout_s,
                allow_redirects=False,
                verify=self._verify,
                **more,
            )
        except (requests.RequestException, UnicodeError) as exc:
            reason = _reason(exc, timeout_s or self._timeout_s)
            raise Unreachable(f"{self.address}: {reason}") from exc

    def api(self, method: str, name: str, /, *, root: str = API, **body: Any) -> dict[str, Any]:
        """The JSON answer of `root`/`name`; `body` is the query of a GET. Raises Refused."""
        is_get = method == "GET"
        answer = self.ask(
            method, f"{root}/{name}", params=body if is_get else None, json=None if is_get else body
        )
        if answer.status_code != 200:
            raise refused(answer, f"{method} {name}")
        try:
            return dict(answer.json()) if answer.content else {}
        except ValueError as exc:
            raise Refused(f"{name}: the answer is no JSON; is this MLflow?", 200) from exc


def refused(answer: Any, doing: str) -> Refused:
    """The error that this answer is: what MLflow or a proxy said, shortened."""
    try:
        told = answer.json()
        code, message = str(told.get("error_code", "")), str(told.get("message", ""))
    except (ValueError, AttributeError):
        code, message = "", answer.text
    # The first line alone: a database's error goes on with the statement and its values.
    message = message.strip().partition("\n")[0][:300]
    what = " ".join(part for part in (code, message) if part) or str(answer.reason)
    return Refused(f"{doing}: {answer.status_code} {what}", answer.status_code, code)


def _reason(exc: Exception, timeout_s: float) -> str:
    import requests

    match exc:
        case requests.exceptions.SSLError():
            return f"TLS failed: {_last(exc)}"
        case requests.exceptions.ProxyError():
            return f"the proxy on the way refused: {_last(exc)}"
        case requests.exceptions.Timeout():
            return f"no answer within {timeout_s:.0f} s"
        case requests.exceptions.ConnectionError():
            return f"no connection: {_last(exc)}"
        case _:
            return str(exc)[:300]


def _last(exc: BaseException) -> str:
    """What it comes down to: libraries wrap a socket's error three times."""
    seen: BaseException = exc
    while True:
        inner = seen.__cause__ or getattr(seen, "reason", None) or next(iter(seen.args), None)
        if not isinstance(inner, BaseException):
            return str(seen.args[-1] if seen.args else seen)[:300]
        seen = inner


def _unchanged(request: Any) -> Any:
    return request
