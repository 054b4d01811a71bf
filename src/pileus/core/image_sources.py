"""Where an image may be fetched from: an address that a user names must not lead into the cloud's own network."""

import ipaddress
from urllib.parse import urlsplit

from pileus.model.base import Model
from pileus.model.errors import Invalid

PORTS = {"http": 80, "https": 443}


class Source(Model, frozen=True, kw_only=True):
    """An address of the web, taken apart. `trusted`: an operator has named the host, so it may lie anywhere."""

    scheme: str
    host: str
    port: int
    target: str
    trusted: bool = False


def source(uri: str, trusted_hosts: list[str]) -> Source:
    """The parts of an address; Invalid unless it is http or https, without a user, at a usual port or at a host that operators trust."""
    try:
        parts = urlsplit(uri)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise refused(uri, "it is not an address of the web") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise refused(uri, "only http and https are fetched")
    if parts.username is not None or parts.password is not None:
        raise refused(uri, "it names a user")
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in uri):
        raise refused(uri, "it has white space or control characters")
    host = parts.hostname
    trusted = host in trusted_hosts or f"{host}:{port}" in trusted_hosts
    if not trusted and port not in PORTS.values():
        raise refused(uri, f"port {port} is not one of {', '.join(map(str, PORTS.values()))}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Source(scheme=parts.scheme, host=host, port=port, target=target, trusted=trusted)


def public(address: str) -> bool:
    """Whether an IP address lies in the public internet, also when it is an IPv4 address in an IPv6 one's clothes."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        if found.sixtofour or found.teredo or any(found in one for one in TRANSLATED):
            return False
        inner = found.ipv4_mapped
        if inner is not None:
            return public(str(inner))
    return found.is_global and not found.is_multicast


TRANSLATED = [ipaddress.ip_network(one) for one in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")]
"""IPv6 addresses that stand for an IPv4 address: of NAT64, public and local, and the IPv4-compatible ones of old."""


def refused(uri: str, why: str) -> Invalid:
    """The fault for an address that is not fetched from."""
    return Invalid(f"URI for web-download does not pass filtering: {uri}: {why}.", field="uri")
