"""Asks an identity provider something: off the event loop, within seconds, its certificate looked at, no more read than there may be."""

import asyncio
import contextlib
import http.client
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from pileus import threads
from pileus.core.openid import check_address
from pileus.model.base import Model
from pileus.model.errors import Unavailable

SECONDS = 10.0
"""Within which an answer is there to its end."""
LARGEST = 1 << 20
"""Bytes of an answer."""
MOST_WAITING = 64
_WORKERS = 8
# Of their own: a provider that is slow holds up nobody's logins by password.
_pool = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="provider")
_waiting = 0


class Question(Model, frozen=True, kw_only=True):
    """What is asked. `form` makes it a POST; `authorities` is PEM of who signed the provider's certificate, None for the machine's own."""

    address: str
    authorities: str | None = None
    form: dict[str, str] | None = None
    headers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Question(address={self.address!r})"  # tokens and secrets stand in the rest


class Answer(Model, frozen=True, kw_only=True):
    """What came."""

    status: int
    body: bytes

    def document(self, host: str) -> dict[str, Any]:
        """The body as an object; Unavailable when it is none."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unavailable(f"The identity provider at {host} answers what can't be understood.") from error


async def ask(question: Question) -> Answer:
    """The answer; Unavailable when there is none in time."""
    global _waiting
    host = urlsplit(check_address(question.address, "address")).netloc
    if _waiting >= MOST_WAITING:
        raise Unavailable("Too many logins wait for identity providers; try again later.")
    links: list[socket.socket] = []
    _waiting += 1
    try:
        async with asyncio.timeout(SECONDS):
            await asyncio.to_thread(_begin)
            return await asyncio.get_running_loop().run_in_executor(_pool, partial(_ask, question, links))
    except TimeoutError as error:
        raise Unavailable(f"The identity provider at {host} did not answer within {SECONDS:g} seconds; try again.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(f"The identity provider at {host} can't be asked: {_words(error)}.") from error
    finally:
        _waiting -= 1
        for link in links:  # whoever waits for the other side waits no longer
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)


@lru_cache(maxsize=1)
def _begin() -> None:
    """The threads, once there is something to ask: most clouds never do."""
    threads.begin(_pool, _WORKERS)


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message})"
    return str(error) or type(error).__name__


@lru_cache(maxsize=16)
def _trust(authorities: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authorities)


def _ask(question: Question, links: list[socket.socket]) -> Answer:
    """Blocks. Nothing is followed: an answer that leads elsewhere is none."""
    where = urlsplit(question.address)
    assert where.hostname
    port = where.port or (443 if where.scheme == "https" else 80)
    link = socket.create_connection((where.hostname, port), timeout=SECONDS)
    links.append(link)
    try:
        if where.scheme == "https":
            link = _trust(question.authorities).wrap_socket(link, server_hostname=where.hostname)
            links.append(link)
        connection = http.client.HTTPConnection(where.hostname, port, timeout=SECONDS)
        connection.sock = link
        headers = {"Accept": "application/json", "Connection": "close", "User-Agent": "pileus", **question.headers}
        body = None
        if question.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(question.form).encode()
        target = (where.path or "/") + (f"?{where.query}" if where.query else "")
        connection.request("GET" if body is None else "POST", target, body, headers)
        response = connection.getresponse()
        data = response.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ValueError(f"it answers with more than {LARGEST} bytes")
        return Answer(status=response.status, body=data)
    finally:
        link.close()
