"""Asks an API: so many requests, so many at a time, each worker on a connection that it keeps; and how long each took."""

import asyncio
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvloop

from bench.cloud import Cloud

ROUNDS, MANY = 3, 15
VERSIONS = "OpenStack-API-Version: compute 2.96, placement 1.39\r\n"


@dataclass
class Ask:
    """One request. `body`: a document; `data`: bytes as they are."""

    method: str
    path: str
    body: Any = None
    data: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def bytes(self, token: str) -> bytes:
        """As it goes over the wire."""
        data = self.data or (json.dumps(self.body).encode() if self.body is not None else b"")
        kind = "application/octet-stream" if self.data else "application/json"
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: bench\r\nX-Auth-Token: {token}\r\n{VERSIONS}{lines}"
        return f"{head}Content-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


@dataclass
class Figure:
    """What an operation takes. CPU is the control plane's; `database`: PostgreSQL's besides. Milliseconds, of one operation."""

    count: int
    concurrency: int
    cpu: float
    p50: float
    p99: float
    per_second: float
    database: float | None = None


async def ask(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes) -> tuple[int, bytes]:
    """Status and body of one answer."""
    reader, writer = connection
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head[9:12])
    if "transfer-encoding: chunked" in head:
        parts: list[bytes] = []
        while size := int(await reader.readline(), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readline()
        return status, b"".join(parts)
    length = int(head.partition("content-length: ")[2].partition("\r")[0] or 0)
    return status, await reader.readexactly(length) if length else b""


async def _drive(cloud: Cloud, token: str, asks: Sequence[Sequence[Ask]], concurrency: int) -> tuple[list[float], float, list[bytes]]:
    """Seconds of each operation, of all, and the last answer of each."""
    host, _, port = cloud.listen.rpartition(":")
    connections = [await asyncio.open_connection(host, int(port), limit=64 << 20) for _ in range(concurrency)]
    ready = [[one.bytes(token) for one in operation] for operation in asks]
    left = iter(range(len(asks)))
    seconds = [0.0] * len(asks)
    answers = [b""] * len(asks)

    async def worker(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        for number in left:
            began = time.perf_counter()
            for request, asked in zip(ready[number], asks[number], strict=True):
                status, answers[number] = await ask(connection, request)
                if status >= 400:
                    raise SystemExit(f"{asked.method} {asked.path}: {status} {answers[number][:300]!r}")
            seconds[number] = time.perf_counter() - began

    began = time.perf_counter()
    await asyncio.gather(*(worker(one) for one in connections))
    took = time.perf_counter() - began
    for _, writer in connections:
        writer.close()
    return seconds, took, answers


def measure(cloud: Cloud, asks: Iterable[Ask | Sequence[Ask]], concurrency: int = 1, admin: bool = False) -> tuple[Figure, list[bytes]]:
    """The figure of an operation that is done for each of `asks` (one request, or several in a row), reconciling included.

    They are done in three rounds where they are many. The CPU is that of the round that used least, as what else runs on the machine only
    adds to it; the times are of all.
    """
    api = cloud.admin if admin else cloud.demo
    if api.token is None:
        api.login()
    operations = [[one] if isinstance(one, Ask) else one for one in asks]
    size = math.ceil(len(operations) / ROUNDS) if len(operations) >= MANY else len(operations)
    spent: list[tuple[float, float]] = []
    times: list[float] = []
    answers: list[bytes] = []
    took = 0.0
    for start in range(0, len(operations), size):
        some = operations[start : start + size]
        cloud.rest()
        cpu, database = cloud.cpu(), cloud.database_cpu()
        seconds, wall, bodies = uvloop.run(_drive(cloud, str(api.token), some, concurrency))
        cloud.rest()
        spent.append(((cloud.cpu() - cpu) / len(some), (cloud.database_cpu() - database) / len(some)))
        times, answers, took = times + seconds, answers + bodies, took + wall
    figure = Figure(
        count=len(operations),
        concurrency=concurrency,
        cpu=min(spent)[0] * 1000,
        p50=percentile(times, 0.5),
        p99=percentile(times, 0.99),
        per_second=len(operations) / took,
        database=min(spent)[1] * 1000 if cloud.postgresql else None,
    )
    return figure, answers


def percentile(seconds: list[float], share: float) -> float:
    """Milliseconds below which this share of them is."""
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))] * 1000


def times(count: int, one: Callable[[int], Ask]) -> Iterator[Ask]:
    """So many of the kind."""
    return (one(number) for number in range(count))
