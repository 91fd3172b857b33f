"""The brake by itself: its window, its memory, whose address counts."""

import asyncio
import base64
from typing import Any

from teststrip.track.server.brake import MOST_KEPT, MOST_WRONG, WITHIN_S, Brake

RIGHT = ("mara", "right")


class Door:
    """A brake before an app that knows one log-in, with a clock of its own."""

    def __init__(self) -> None:
        self.now, self.wrong, self.asked, self.users_up = 0.0, 0, 0, True
        self.password = "right"
        self.brake = Brake(self.app, self.note, lambda: self.users_up, lambda: self.now)

    def note(self) -> None:
        self.wrong += 1

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        given = dict(scope["headers"])[b"authorization"]
        status = 200 if given == basic("mara", self.password) else 401
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def come(self, name: str, password: str, address: str = "192.0.2.1") -> int:
        headers = [(b"authorization", basic(name, password))]
        scope = {"type": "http", "headers": headers, "client": (address, 1), "path": "/"}
        said: list[Any] = []

        async def send(message: Any) -> None:
            said.append(message)

        asyncio.run(self.brake(scope, None, send))  # type: ignore[arg-type]
        return int(said[0]["status"])


def basic(name: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{name}:{password}".encode())


def test_ten_wrong_ones_and_the_address_waits_a_minute() -> None:
    door = Door()
    assert [door.come("mara", f"x{n}") for n in range(MOST_WRONG)] == [401] * MOST_WRONG
    asked = door.asked
    assert door.come("mara", "x") == 429
    assert door.come(*RIGHT) == 429  # it could be a guess
    assert door.asked == asked  # nothing was hashed
    assert door.come(*RIGHT, address="192.0.2.2") == 200
    door.now += WITHIN_S + 1
    assert door.come(*RIGHT) == 200
    assert door.wrong == MOST_WRONG


def test_who_was_let_in_lately_is_not_held_up_until_the_password_changes() -> None:
    door = Door()
    assert door.come(*RIGHT) == 200
    for n in range(MOST_WRONG):
        door.come("mara", f"x{n}")
    assert door.come("mara", "x") == 429
    assert door.come(*RIGHT) == 200
    door.password = "another"
    assert door.come(*RIGHT) == 401
    assert door.come(*RIGHT) == 429


def test_all_of_an_ipv6_network_is_one_address() -> None:
    door = Door()
    for n in range(MOST_WRONG):
        door.come("mara", "x", f"2001:db8::{n:x}")
    assert door.come("mara", "x", "2001:db8::ffff") == 429
    assert door.come("mara", "x", "2001:db8:0:1::1") == 401


def test_its_memory_is_bounded() -> None:
    door = Door()
    for n in range(MOST_KEPT + 50):
        door.brake._note_wrong(f"10.0.{n // 256}.{n % 256}", b"")
    assert len(door.brake._failed) == MOST_KEPT
    for _ in range(100):
        door.brake._note_wrong("192.0.2.1", b"")
    assert len(door.brake._failed["192.0.2.1"]) == MOST_WRONG


def test_a_database_of_users_that_is_away_makes_no_password_wrong() -> None:
    door = Door()
    door.users_up = False
    assert [door.come("mara", "x") for _ in range(MOST_WRONG + 1)] == [503] * (MOST_WRONG + 1)
    assert door.wrong == 0
