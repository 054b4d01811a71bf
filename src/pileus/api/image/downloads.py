"""Fetches an image from the web: each hop is looked at before it is followed, and what was looked at is what is connected to."""

import asyncio
import contextlib
import http.client
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar
from urllib.parse import quote, urljoin

from pileus import clock, threads
from pileus.core.image_sources import Source, public, refused, source
from pileus.model.errors import Invalid

T = TypeVar("T")
BLOCK = 1 << 20
TIMEOUT = 60.0
"""Seconds for which a server may say nothing, and within which its answer must begin."""
NAME_SECONDS = 15.0
"""Within which a name must be known."""
SLOWEST = 4096
"""Bytes a second that must come on average, once TIMEOUT is over."""
HOPS = 5
REDIRECTS = (301, 302, 303, 307, 308)
# Of their own: name servers and web servers of tenants' choice may be as slow as they like, and hold up no thread that others need.
_WORKERS = 32
_pool = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="import")


def begin() -> None:
    """Start the threads, while there is memory for them."""
    threads.begin(_pool, _WORKERS)


async def resolve(uri: str, trusted: list[str]) -> tuple[Source, str]:
    """An address's parts, and the IP address to connect to; Invalid when it may not be fetched from."""
    where = source(uri, trusted)
    try:
        async with asyncio.timeout(NAME_SECONDS):
            found = await _apart(partial(socket.getaddrinfo, where.host, where.port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:  # a TimeoutError is an OSError
        raise refused(uri, f"the host {where.host} is not known") from error
    addresses = [str(one[4][0]) for one in found]
    if not where.trusted and not all(public(address) for address in addresses):
        raise refused(uri, f"the host {where.host} does not lie in the public internet")
    return where, addresses[0]


async def chunks(uri: str, trusted: list[str]) -> AsyncIterator[bytes]:
    """The content, block by block; Invalid when the server does not give it, or ends before it said."""
    response, link = await _open(uri, trusted)
    expected, got, began = response.length, 0, clock.monotonic()
    try:
        while data := await _apart(partial(_read, response, BLOCK if expected is None else min(BLOCK, expected - got))):
            got += len(data)
            yield data
            taken = clock.monotonic() - began
            if taken > TIMEOUT and got < taken * SLOWEST:
                raise Invalid(f"{uri} gives less than {SLOWEST} bytes a second.")
    except (OSError, http.client.HTTPException) as error:
        raise Invalid(f"{uri} could not be read to its end: {error}") from error
    finally:
        _hang_up(link)
        response.close()
    if expected is not None and got != expected:
        raise Invalid(f"{uri} ended after {got} of {expected} bytes.")


async def length(uri: str, trusted: list[str]) -> int | None:
    """How many bytes lie there, by the server's word."""
    response, link = await _open(uri, trusted)
    try:
        return response.length
    finally:
        _hang_up(link)
        response.close()


def _read(response: http.client.HTTPResponse, most: int) -> bytes:
    """Blocks. What has come by now, up to `most` bytes, or a second's worth; nothing at the end."""
    parts: list[bytes] = []
    size, until = 0, clock.monotonic() + 1.0
    while size < most and (part := response.read1(most - size)):
        parts.append(part)
        size += len(part)
        if clock.monotonic() > until:
            break
    return b"".join(parts)


async def _apart(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_pool, work)


def _hang_up(links: list[socket.socket]) -> None:
    """Whoever waits for the other side waits no longer."""
    for link in links:
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)


async def _open(uri: str, trusted: list[str]) -> tuple[http.client.HTTPResponse, list[socket.socket]]:
    for _ in range(HOPS):
        where, address = await resolve(uri, trusted)
        links: list[socket.socket] = []
        try:
            response = await _answer(where, address, links)
        except (OSError, http.client.HTTPException) as error:
            raise Invalid(f"{uri} could not be fetched: {str(error) or 'it does not answer'}") from error
        if response.status == 200:
            return response, links
        location = response.getheader("Location")
        response.close()
        if response.status not in REDIRECTS or location is None:
            raise Invalid(f"{uri} could not be fetched: the server answered {response.status}.")
        uri = urljoin(uri, location)
    raise Invalid(f"{uri} could not be fetched: more than {HOPS} redirections.")


async def _answer(where: Source, address: str, links: list[socket.socket]) -> http.client.HTTPResponse:
    try:
        async with asyncio.timeout(TIMEOUT):
            return await _apart(partial(_request, where, address, links))
    except BaseException:
        _hang_up(links)
        raise


def _request(where: Source, address: str, links: list[socket.socket]) -> http.client.HTTPResponse:
    """Blocks. The connection, which `links` gets, goes to the address that was looked at, whatever the name means by now."""
    link = socket.create_connection((address, where.port), timeout=TIMEOUT)
    try:
        if where.scheme == "https":
            link = ssl.create_default_context().wrap_socket(link, server_hostname=where.host, do_handshake_on_connect=False)
            links.append(link)
            link.do_handshake()
        else:
            links.append(link)
        connection = http.client.HTTPConnection(where.host, where.port, timeout=TIMEOUT)
        connection.sock = link
        connection.request(
            "GET", quote(where.target, safe="/?&=%:;+,@!$'()*~#[]-._"), headers={"Accept-Encoding": "identity", "Connection": "close"}
        )
        return connection.getresponse()
    except BaseException:
        link.close()
        raise
