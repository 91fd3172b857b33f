"""Who may come in: nobody without a log-in, nobody with a wrong one, and whoever asks here."""

import secrets

from teststrip.track.doctor.finding import Finding, failed, passed, skipped, warned
from teststrip.track.doctor.network import LISTING
from teststrip.track.doctor.visit import Visit
from teststrip.track.rest import API, NOBODY, Login, Refused

# What MLflow shipped until 3.10 or so, and what half of the tutorials still write.
DEFAULT = Login("admin", "password1234")
OPEN = "set TESTSTRIP_TRACK_LOGIN=on (MLflow: --app-name basic-auth)"


def strangers(visit: Visit) -> Finding:
    """Does it ask for a log-in at all?"""
    answer = visit.rest.ask("GET", LISTING, params={"max_results": 1}, login=NOBODY)
    visit.asks_login = answer.status_code != 200
    if visit.asks_login:
        return passed(f"refused without a log-in ({answer.status_code})")
    if visit.is_loopback:
        return warned("no log-in: every user of this machine can read and write", OPEN)
    return failed("no log-in: everybody can read and write", OPEN)


def login(visit: Visit) -> Finding:
    """Is the right log-in accepted?"""
    who = visit.rest.login
    if visit.asks_login and not who:
        mend = (
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN)"
        )
        return failed("it asks for a log-in and none is set here", mend)
    answer = visit.rest.ask("GET", LISTING, params={"max_results": 1})
    if answer.status_code == 429:
        return failed("too many wrong log-ins came from here", "wait a minute and ask again")
    if answer.status_code != 200:
        name = who.username or "the token"
        mend = (
            "are MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD right? An administrator "
            "can set a new password: teststrip track users password NAME"
        )
        return failed(f"{name} is refused ({answer.status_code})", mend)
    if not visit.asks_login:
        return passed("none is asked for")
    return passed(_whoami(visit))


def wrong_login(visit: Visit) -> Finding:
    """A wrong password must be refused."""
    if not visit.asks_login:
        return skipped("no log-in is asked for")
    made_up = secrets.token_urlsafe(18)
    name = visit.rest.login.username
    wrong = Login(name, made_up) if name else Login(token=made_up)
    answer = visit.rest.ask("GET", LISTING, params={"max_results": 1}, login=wrong)
    if answer.status_code == 200:
        return failed("a made-up password is accepted", "does a proxy log everybody in?")
    if answer.status_code == 429:
        return _held_up()
    return passed(f"a made-up password is refused ({answer.status_code})")


def default_password(visit: Visit) -> Finding:
    """The password that everybody knows must be refused."""
    if not visit.asks_login:
        return skipped("no log-in is asked for")
    answer = visit.rest.ask("GET", LISTING, params={"max_results": 1}, login=DEFAULT)
    if answer.status_code == 200:
        mend = "at once: teststrip track users password admin"
        return failed(f"MLflow's old default ({DEFAULT.username}) is accepted", mend)
    if answer.status_code == 429:
        return _held_up()
    return passed(f"MLflow's old default password is refused ({answer.status_code})")


def sign_up(visit: Visit) -> Finding:
    """Can strangers make themselves a user? Nothing is made by asking: the names are left out."""
    if not visit.asks_login:
        return skipped("no log-in is asked for")
    page = visit.rest.ask("GET", "/signup", login=NOBODY)
    made = visit.rest.ask("POST", f"{API}/users/create", json={}, login=NOBODY)
    if page.status_code == 200 or made.status_code in (200, 400):
        return failed(
            f"strangers can register (page {page.status_code}, API {made.status_code})",
            "let the proxy refuse /signup and */users/create without a log-in",
        )
    return passed(f"strangers cannot register ({page.status_code}, {made.status_code})")


def metrics(visit: Visit) -> Finding:
    """Are the numbers for Prometheus open to everybody?"""
    answer = visit.rest.ask("GET", "/metrics", login=NOBODY)
    is_open = answer.status_code == 200 and "# TYPE" in answer.text
    if not is_open:
        return passed(f"/metrics is not open to strangers ({answer.status_code})")
    if visit.is_loopback and not visit.asks_login:
        return passed("/metrics is open, as all of it is")
    mend = "let it ask for a log-in, or refuse /metrics in the proxy"
    return warned("/metrics is open to strangers", mend)


def _held_up() -> Finding:
    return warned("too many wrong log-ins came from here: not told", "ask again in a minute")


def _whoami(visit: Visit) -> str:
    try:
        user = visit.rest.api("GET", "users/current")["user"]
    except (Refused, KeyError, TypeError):  # a log-in of another kind: a proxy's, a plug-in's
        return visit.rest.login.username or "the token is accepted"
    visit.username = str(user["username"])
    return f"{visit.username}{', an administrator' if user['is_admin'] else ''}"
