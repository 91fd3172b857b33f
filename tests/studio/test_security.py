"""Who may ask: hosts, passwords, tokens, and text that stays text."""

import re

import pytest
from starlette.testclient import TestClient

from teststrip.errors import ConfigError
from teststrip.studio.app import create_app
from teststrip.studio.security import CSRF, check_bind

PASSWORD = "correct horse battery"
HTML = {"Accept": "text/html"}


def visitor(app, host="127.0.0.1"):
    return TestClient(app, base_url=f"http://{host}", follow_redirects=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.org"])
def test_an_open_bind_needs_a_password(host):
    with pytest.raises(ConfigError, match="TESTSTRIP_STUDIO_PASSWORD"):
        check_bind(host, None)
    check_bind(host, PASSWORD)


def test_a_short_password_is_refused_everywhere():
    with pytest.raises(ConfigError, match="12"):
        check_bind("127.0.0.1", "short")
    for host in ("127.0.0.1", "localhost", "::1"):
        check_bind(host, None)


def test_unknown_hosts_are_refused_against_dns_rebinding(parts):
    app = create_app(parts, hosts=["studio.example"])

    assert visitor(app, "evil.example").get("/").status_code == 421
    assert visitor(app, "studio.example").get("/healthz").status_code == 200


def test_without_the_password_there_is_only_the_way_in(parts):
    app = create_app(parts, password=PASSWORD)
    guest = visitor(app)

    assert guest.get("/", headers=HTML).headers["location"] == "/login"
    assert guest.get("/healthz").json() == {"status": "ok"}, "probes know no password"
    assert guest.get("/studies/colours").status_code == 401
    assert guest.get("/thumbs/96/colours/x.webp").status_code == 401
    bearer = {"Authorization": f"Bearer {PASSWORD}"}
    assert guest.get("/studies/colours", headers=bearer).status_code == 200
    assert guest.get("/", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_the_right_password_opens_and_a_wrong_one_does_not(parts):
    guest = visitor(create_app(parts, password=PASSWORD))
    guest.get("/login", headers=HTML)
    token = guest.cookies[CSRF]

    wrong = guest.post("/login", data={"password": "guess", "csrf": token}, headers=HTML)
    assert wrong.status_code == 401
    assert guest.get("/studies/colours").status_code == 401
    right = guest.post("/login", data={"password": PASSWORD, "csrf": token}, headers=HTML)
    assert right.status_code == 303
    assert guest.get("/studies/colours").status_code == 200


def test_other_sites_cannot_change_anything(app):
    guest = visitor(app)
    guest.get("/healthz")
    token = {"X-CSRF-Token": guest.cookies[CSRF]}

    for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        assert (
            guest.post("/login", data={"password": "x"}, headers=token | foreign).status_code == 403
        )
    assert guest.post("/login", data={"password": "x"}).status_code == 403
    odd = guest.post("/login", data={"password": "x"}, headers={"X-CSRF-Token": "é".encode()})
    assert odd.status_code == 403


def test_every_route_that_changes_something_asks_for_the_token(app):
    guest = visitor(app)
    guest.get("/healthz")
    routes = [
        (method, path)
        for path, methods in app.openapi()["paths"].items()
        for method in methods
        if method not in ("get", "head")
    ]
    for method, path in routes:
        answer = guest.request(method, re.sub(r"{\w+}", "x", path))
        assert answer.status_code == 403, (method, path, answer.text)
    assert len(routes) >= 10


def test_every_answer_holds_the_policy(app):
    guest = visitor(app)
    for path in ("/", "/nothing", "/static/base.css", "/wall?study=colours"):
        headers = guest.get(path, headers=HTML).headers
        assert "script" not in headers["content-security-policy"]  # so: 'self' only
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_no_page_tells_where_a_fault_came_from(app, monkeypatch):
    def broken(*_):
        raise RuntimeError("/secret/path")

    guest = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    monkeypatch.setattr(type(app.state.parts.index), "entries", broken)
    answer = guest.get("/", headers=HTML)

    assert answer.status_code == 500
    assert "secret" not in answer.text
