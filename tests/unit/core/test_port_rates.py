"""Rates of a port: read from a flavor's extra specs, written as rules."""

import pytest
from msgspec.structs import replace

from pileus.core.port_rates import LEAST_BURST, chains, rates_of
from pileus.model.ports import PortRates, Rate
from tests.unit.core.network_samples import PORTS


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ({}, None),
        ({"quota:cpu_shares": "10"}, None),
        ({"quota:vif_inbound_average": "1000"}, PortRates(inbound=Rate(average=1_000_000, burst=1_000_000))),
        ({"quota:vif_outbound_average": "1"}, PortRates(outbound=Rate(average=1000, burst=LEAST_BURST))),
        (
            {"quota:vif_outbound_average": "1000", "quota:vif_outbound_burst": "4096"},
            PortRates(outbound=Rate(average=1_000_000, burst=4 << 20)),
        ),
        ({"quota:vif_inbound_average": "fast", "quota:vif_outbound_average": "0"}, None),
        ({"quota:vif_inbound_burst": "4096"}, None),
    ],
)
def test_a_flavors_words_become_bytes_a_second(specs: dict[str, str], expected: PortRates | None) -> None:
    assert rates_of(specs) == expected


def test_only_what_is_limited_and_here_gets_a_rule() -> None:
    rates = PortRates(inbound=Rate(average=1000, burst=LEAST_BURST))
    here = replace(PORTS[0], local=True, rates=rates)
    lines, first = chains([here, replace(PORTS[1], local=False, rates=rates), replace(PORTS[1], id="other", rates=None)])
    assert first == [], "what the guest sends is not limited"
    assert [line.strip() for line in lines if "limit rate" in line] == ["limit rate over 1000 bytes/second burst 130072 bytes drop"]
    assert any("hook postrouting" in line for line in lines)
    assert chains([replace(here, rates=None)]) == ([], [])
