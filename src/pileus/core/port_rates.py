"""Limits of bandwidth: from a flavor's extra specs, in Nova's words (`quota:vif_inbound_average` ...), to rules of nftables.

Inbound is what the guest receives. What exceeds the rate is dropped, which TCP takes as a sign to slow down. A burst is a
second's worth at least: nftables lets so much accumulate, and what it calls a burst is beyond that.
"""

from collections.abc import Mapping

from pileus.core import network_names as names
from pileus.core.nft_text import chain
from pileus.model.ports import PortRates, Rate
from pileus.model.routing import DomainPort

KILOBYTE, KIB = 1000, 1024  # an average is in kilobytes a second, a burst in KiB, as with libvirt
LEAST_BURST = 128 * KIB
"""Bytes. A guest hands over TCP in pieces of 64 KiB; with a smaller burst none of them would ever pass."""


def rates_of(specs: Mapping[str, str]) -> PortRates | None:
    """What a flavor lets through each port of its servers; None when it limits nothing. What is no number limits nothing."""
    inbound, outbound = _rate(specs, "inbound"), _rate(specs, "outbound")
    return PortRates(inbound=inbound, outbound=outbound) if inbound or outbound else None


def _rate(specs: Mapping[str, str], direction: str) -> Rate | None:
    average, burst = (specs.get(f"quota:vif_{direction}_{what}", "") for what in ("average", "burst"))
    if not (average.isascii() and average.isdigit() and int(average)):
        return None
    rate = int(average) * KILOBYTE
    wanted = int(burst) * KIB if burst.isascii() and burst.isdigit() else 0
    return Rate(average=rate, burst=max(LEAST_BURST, wanted, rate))


def chains(ports: list[DomainPort]) -> tuple[list[str], list[str]]:
    """Of the bridge table: the lines of maps and chains, and the rules with which a frame that comes in begins."""
    senders, receivers = (_limited(ports, direction) for direction in ("outbound", "inbound"))
    lines = _chains("slow-senders", "slow-from", senders) + _chains("slow-receivers", "slow-to", receivers)
    if receivers:  # what a router or the namespace itself sends to a guest is not forwarded by the bridge, but leaves it as well
        lines += chain("leaving", ["oifname vmap @slow-receivers"], "type filter hook postrouting priority 300; policy accept;")
    return lines, ["iifname vmap @slow-senders"] if senders else []


def _limited(ports: list[DomainPort], direction: str) -> list[tuple[str, Rate]]:
    found = [(names.tap(port.id), getattr(port.rates, direction)) for port in ports if port.local and port.rates is not None]
    return sorted((tap, rate) for tap, rate in found if rate is not None)


def _chains(name: str, prefix: str, limited: list[tuple[str, Rate]]) -> list[str]:
    if not limited:
        return []
    elements = ", ".join(f'"{tap}" : jump {prefix}-{tap}' for tap, _ in limited)
    lines = [f"\tmap {name} {{ type ifname : verdict; elements = {{ {elements} }}", "\t}"]
    for tap, rate in limited:
        more = f" burst {rate.burst - rate.average} bytes" if rate.burst > rate.average else ""
        lines += chain(f"{prefix}-{tap}", [f"limit rate over {rate.average} bytes/second{more} drop"])
    return lines
