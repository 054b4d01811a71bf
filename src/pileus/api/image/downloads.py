"""Fetches an image from the web: each hop is looked at before it is followed, and what was looked at is what is connected to."""

import asyncio
import http.client
import socket
import ssl
from collections.abc import AsyncIterator
from urllib.parse import quote, urljoin

from pileus.core.image_sources import Source, public, refused, source
from pileus.model.errors import Invalid

BLOCK = 1 << 20
TIMEOUT = 60.0
"""Seconds for which a server may say nothing."""
HOPS = 5
REDIRECTS = (301, 302, 303, 307, 308)


async def resolve(uri: str, trusted: list[str]) -> tuple[Source, str]:
    """An address's parts, and the IP address to connect to; Invalid when it may not be fetched from."""
    where = source(uri, trusted)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise refused(uri, f"the host {where.host} is not known") from error
    addresses = [str(one[4][0]) for one in found]
    if not where.trusted and not all(public(address) for address in addresses):
        raise refused(uri, f"the host {where.host} does not lie in the public internet")
    return where, addresses[0]


async def chunks(uri: str, trusted: list[str]) -> AsyncIterator[bytes]:
    """The content, block by block; Invalid when the server does not give it, or ends before it said."""
    response = await _open(uri, trusted)
    expected, got = response.length, 0
    try:
        while data := await asyncio.to_thread(response.read, BLOCK):
            got += len(data)
            yield data
    except (OSError, http.client.HTTPException) as error:
        raise Invalid(f"{uri} could not be read to its end: {error}") from error
    finally:
        response.close()
    if expected is not None and got != expected:
        raise Invalid(f"{uri} ended after {got} of {expected} bytes.")


async def _open(uri: str, trusted: list[str]) -> http.client.HTTPResponse:
    for _ in range(HOPS):
        where, address = await resolve(uri, trusted)
        try:
            response = await asyncio.to_thread(_request, where, address)
        except (OSError, http.client.HTTPException) as error:
            raise Invalid(f"{uri} could not be fetched: {error}") from error
        if response.status == 200:
            return response
        location = response.getheader("Location")
        response.close()
        if response.status not in REDIRECTS or location is None:
            raise Invalid(f"{uri} could not be fetched: the server answered {response.status}.")
        uri = urljoin(uri, location)
    raise Invalid(f"{uri} could not be fetched: more than {HOPS} redirections.")


def _request(where: Source, address: str) -> http.client.HTTPResponse:
    """Blocks. The connection goes to the address that was looked at, whatever the name means by now."""
    link = socket.create_connection((address, where.port), timeout=TIMEOUT)
    try:
        if where.scheme == "https":
            link = ssl.create_default_context().wrap_socket(link, server_hostname=where.host)
        connection = http.client.HTTPConnection(where.host, where.port, timeout=TIMEOUT)
        connection.sock = link
        connection.request(
            "GET", quote(where.target, safe="/?&=%:;+,@!$'()*~#[]-._"), headers={"Accept-Encoding": "identity", "Connection": "close"}
        )
        return connection.getresponse()
    except BaseException:
        link.close()
        raise
