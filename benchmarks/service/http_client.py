"""The least HTTP client that measures: one connection, one request at a time, little of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Answer:
    """Status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """A kept-alive HTTP/1.1 connection to `address`. Use it from one task."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", headers: str = "") -> Answer:
        """Send and read the whole answer. Raises OSError, EOFError."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        kind = "content-type: application/json\r\n" if body else ""
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\n{kind}{headers}"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        return await self._answer()

    async def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
            await self._writer.wait_closed()

    async def _answer(self) -> Answer:
        assert self._reader is not None
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self._reader.readline(), 16):
                body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readline()
        else:
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(lines[0].split()[1]), headers, body)


@dataclass
class Pace:
    """What one number of clients reached."""

    clients: int
    seconds: float
    times: list[float] = field(repr=False)  # of each request, sorted
    failed: int = 0

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return len(self.times) / self.seconds

    def at(self, share: float) -> float:
        """The time that this share of the requests stays within, seconds."""
        return self.times[min(int(len(self.times) * share), len(self.times) - 1)]


Ask = Callable[[Connection, int], Awaitable[bool]]


async def paced(address: str, clients: int, seconds: float, ask: Ask) -> Pace:
    """`clients` at once, each asking again as soon as it is answered, for so long.

    `ask(connection, number)` says whether the answer was right; numbers count up over all.
    """
    times: list[float] = []
    failed, number, end = 0, 0, time.perf_counter() + seconds

    async def one() -> None:
        nonlocal failed, number
        connection = Connection(address)
        while time.perf_counter() < end:
            number += 1
            began = time.perf_counter()
            failed += not await ask(connection, number)
            times.append(time.perf_counter() - began)
        await connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    return Pace(clients, time.perf_counter() - began, sorted(times), failed)


async def fastest(
    address: str, seconds: float, ask: Ask, most_s: float = 0.1, clients: tuple[int, ...] = ()
) -> list[Pace]:
    """One pace for each number of clients, more and more, until p99 is beyond `most_s`."""
    found = []
    for count in clients or (1, 2, 4, 8, 16, 32, 64, 128):
        found.append(await paced(address, count, seconds, ask))
        if found[-1].at(0.99) > most_s:
            break
    return found
