"""The names a server answers to, and the pages that may change something in it.

MLflow's own middleware compares them; its default is not used, for "10.*" in it lets a page of
10.example.org in.
"""

from urllib.parse import urlsplit

from teststrip.errors import ConfigError
from teststrip.guard import is_loopback
from teststrip.track.server.config import ServerConfig

HERE = ("localhost", "127.0.0.1", "[::1]")
ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - to recognise them
DEFAULT_PORTS = {"http": 80, "https": 443}


def check_bind(host: str, config: ServerConfig) -> None:
    """Raises ConfigError where strangers could come in, or nobody at all."""
    if is_loopback(host):
        return
    faults = []
    if config.login == "off":
        faults.append(
            "TESTSTRIP_TRACK_LOGIN=off: whoever reaches it could read, change and delete all runs; "
            "set it to on, or to proxy where something before it asks who they are"
        )
    if host in ANYWHERE and not config.public_url and not config.allow_hosts:
        faults.append(
            "no name is allowed, so every request would be refused; set TESTSTRIP_TRACK_PUBLIC_URL="
            "https://mlflow.example.org, or TESTSTRIP_TRACK_ALLOW_HOSTS=name,name"
        )
    if faults:
        raise ConfigError(f"--host {host} is open to other machines", faults)


def allowed_hosts(host: str, config: ServerConfig) -> list[str]:
    """Host headers, as the patterns that MLflow compares (`*` is any port)."""
    names: dict[str, None] = {}
    for name in HERE:
        names |= dict.fromkeys((name, f"{_escaped(name)}:*"))
    if host not in ANYWHERE:
        own = f"[{host}]" if ":" in host else host
        names |= dict.fromkeys((own, f"{_escaped(own)}:*"))
    for scheme, name, port in _public(config):
        names[name if port == DEFAULT_PORTS[scheme] else f"{name}:{port}"] = None
        if port == DEFAULT_PORTS[scheme]:
            names[f"{name}:{port}"] = None
    for name in config.allow_hosts:
        names[name] = None
        if not _has_port(name):
            names[f"{_escaped(name)}:*"] = None
    return list(names)


def allowed_origins(config: ServerConfig) -> list[str]:
    """Whose pages may change something; pages of this machine always may."""
    origins: dict[str, None] = {}
    for scheme, name, port in _public(config):
        tail = "" if port == DEFAULT_PORTS[scheme] else f":{port}"
        origins[f"{scheme}://{name}{tail}"] = None
    for name in config.allow_hosts:
        for scheme in DEFAULT_PORTS:
            origins[f"{scheme}://{name}"] = None
            if not _has_port(name):
                origins[f"{scheme}://{_escaped(name)}:*"] = None
    return list(origins)


def _public(config: ServerConfig) -> list[tuple[str, str, int]]:
    if not config.public_url:
        return []
    parts = urlsplit(config.public_url)
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    return [(parts.scheme, name, parts.port or DEFAULT_PORTS[parts.scheme])]


def _has_port(name: str) -> bool:
    return ":" in name.rpartition("]")[2]


def _escaped(name: str) -> str:
    """A bracket of an IPv6 address begins a set of signs where a pattern holds a `*`."""
    return name.replace("[", "[[]", 1) if name.startswith("[") else name
