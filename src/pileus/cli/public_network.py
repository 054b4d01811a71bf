"""The range of a cloud's public network: one that nothing on this machine uses yet."""

import ipaddress
import json
import subprocess
from collections.abc import Iterable
from typing import Any

from pileus.config import Config
from pileus.model.errors import Invalid, Unavailable

FIRST, LAST = 4, 255  # third numbers of the ranges below 172.24.0.0/16


def free_public_cidr(start: int = FIRST) -> str:
    """The first of 172.24.START.0/24, the next ... that no route of this machine uses."""
    try:
        done = subprocess.run(["ip", "-json", "route", "show", "table", "all"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"The routes of this machine can't be read: {error}. apt-get install iproute2") from error
    return first_free(routed(json.loads(done.stdout or "[]")), start)


def where_to_start(config: Config) -> int:
    """The usual cloud starts at 172.24.4.0/24. Others start anywhere: a cloud that is down has no routes, and is not to be met."""
    return FIRST if config.state == Config().state else FIRST + int(config.tag, 16) % (LAST - FIRST)


def routed(routes: Iterable[dict[str, Any]]) -> list[ipaddress.IPv4Network]:
    """The IPv4 ranges of `ip -json route`; the default route and IPv6 are none."""
    found: list[ipaddress.IPv4Network] = []
    for route in routes:
        try:
            found.append(ipaddress.IPv4Network(route["dst"], strict=False))
        except (KeyError, ValueError):
            continue
    return found


def first_free(used: Iterable[ipaddress.IPv4Network], start: int = FIRST) -> str:
    """The first range from `start` on, then from the beginning, that overlaps none of the used. Wider than /8 is a way, not a use."""
    narrow = [one for one in used if one.prefixlen > 8]
    for number in (*range(start, LAST), *range(FIRST, start)):
        candidate = ipaddress.IPv4Network(f"172.24.{number}.0/24")
        if not any(candidate.overlaps(one) for one in narrow):
            return str(candidate)
    raise Invalid('No free range for the public network below 172.24.0.0/16; set "public_cidr" in config.json of the state directory.')
