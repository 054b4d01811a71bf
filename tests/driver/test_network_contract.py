"""What every network driver does, whatever it does it with."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pileus.model.errors import NodeFailed
from pileus.node.network.simulated import SimulatedNetwork
from tests.driver import network_domains as domains


class Simulated:
    """The simulated driver, used as `Host` is."""

    def __init__(self) -> None:
        self.driver: Any = SimulatedNetwork()

    def do(self, work: Any) -> Any:
        return asyncio.run(work)

    def close(self) -> None:
        self.do(self.driver.close())


@pytest.fixture(params=["linux", "simulated"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "linux" and domains.missing():
        pytest.skip(f"missing: {domains.missing()}")
    one = domains.Host(tmp_path) if request.param == "linux" else Simulated()
    yield one
    one.close()


def test_what_is_required_works_or_says_how_to_mend_it(host: Any) -> None:
    found = host.do(host.driver.probe())
    assert found
    assert all(one.works or one.remedy for one in found)


def test_a_domain_is_observed_with_the_digest_that_apply_returned(host: Any) -> None:
    domain = domains.isolated(21)
    digest = host.do(host.driver.apply(domain))
    assert digest
    assert host.do(host.driver.observe()) == {domain.id: digest}


def test_applying_twice_changes_nothing(host: Any) -> None:
    domain = domains.isolated(21)
    assert host.do(host.driver.apply(domain)) == host.do(host.driver.apply(domain))


def test_when_it_was_read_is_known_and_no_part_of_the_state(host: Any) -> None:
    domain = domains.isolated(21)
    assert host.driver.read_at(domain.id) == 0
    first = host.do(host.driver.apply(replace(domain, read_at=7)))
    assert host.driver.read_at(domain.id) == 7
    assert host.do(host.driver.apply(replace(domain, read_at=9))) == first
    assert host.driver.read_at(domain.id) == 9
    host.do(host.driver.remove(domain.id))
    assert host.driver.read_at(domain.id) == 0


def test_another_state_has_another_digest_and_the_same_state_the_same(host: Any) -> None:
    domain = domains.isolated(21)
    other = domains.with_port(domain, 0, up=False)
    digests = [host.do(host.driver.apply(one)) for one in (domain, other, domain)]
    assert digests[0] == digests[2] != digests[1]


def test_several_domains_are_applied_at_once(host: Any) -> None:
    several = [domains.isolated(21) for _ in range(4)]

    async def apply_all() -> list[str]:
        return list(await asyncio.gather(*(host.driver.apply(one) for one in several)))

    digests = host.do(apply_all())
    assert host.do(host.driver.observe()) == {one.id: digest for one, digest in zip(several, digests, strict=True)}


def test_a_removed_domain_is_not_observed_and_may_be_removed_again(host: Any) -> None:
    domain = domains.isolated(21)
    host.do(host.driver.apply(domain))
    host.do(host.driver.remove(domain.id))
    host.do(host.driver.remove(domain.id))
    assert host.do(host.driver.observe()) == {}


def test_a_tap_of_a_port_that_is_not_here_is_refused_with_a_reason(host: Any) -> None:
    domain = domains.isolated(21)
    host.do(host.driver.apply(replace(domain, ports=[])))
    with pytest.raises(NodeFailed):
        host.driver.open_tap(domain.id, domain.ports[0].id)
