"""A guest starts while its network is made: its tap carries nothing before that is filtered, and its CPUs wait."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from pileus.core.network_names import namespace_name, tap
from pileus.model.errors import NodeFailed
from pileus.model.guests import Guest, ObservedGuest, ObservedPower
from pileus.node.hypervisor.qemu import QemuDriver
from pileus.node.network import namespaces, nft_load
from tests.driver import boot_sectors
from tests.driver import network_domains as domains
from tests.driver.test_qemu_driver import DEADLINE, later, ready, run, until


async def until_there(driver: QemuDriver, guest: Guest) -> ObservedGuest:
    """Its QEMU is there and answers."""
    deadline = time.monotonic() + DEADLINE
    while True:
        found = [one for one in await driver.observe() if one.id == guest.id and one.pid and one.machine]
        if found:
            return found[0]
        assert time.monotonic() < deadline, "its QEMU does not start"
        await asyncio.sleep(0.01)


def test_a_guest_starts_beside_its_network_and_its_cpus_wait_for_it(tmp_path: Path) -> None:
    guest = boot_sectors.guest(tmp_path)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        network = asyncio.get_running_loop().create_future()
        applied = asyncio.create_task(driver.apply(guest, network))
        one = await until_there(driver, guest)
        assert (one.power, changes) == (ObservedPower.PAUSED, []) and not applied.done()
        assert (driver._host.guests / guest.id / "console.log").read_bytes() == b""
        network.set_result(None)
        assert (await applied).power is ObservedPower.RUNNING
        log = driver._host.guests / guest.id / "console.log"
        await until(lambda: b"ready" in log.read_bytes(), "the guest does not boot")

    run(tmp_path, guest, scenario)


def test_a_guest_whose_network_fails_while_it_starts_runs_nothing_and_starts_once_it_works(tmp_path: Path) -> None:
    guest = boot_sectors.guest(tmp_path)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        network = asyncio.get_running_loop().create_future()
        applied = asyncio.create_task(driver.apply(guest, network))
        pid = (await until_there(driver, guest)).pid
        network.set_exception(NodeFailed("nft is missing."))
        observed = await applied
        assert (observed.power, observed.pid, observed.error) == (ObservedPower.STOPPED, None, "nft is missing.")
        assert not Path(f"/proc/{pid}").exists() and changes == []
        again = await ready(driver, guest)
        assert again.error is None
        failing = asyncio.get_running_loop().create_future()
        failing.set_exception(NodeFailed("nft is missing."))
        running = await driver.apply(later(guest), failing)
        assert (running.power, running.pid, running.error) == (ObservedPower.RUNNING, again.pid, "nft is missing."), "it goes on"

    run(tmp_path, guest, scenario)


@pytest.mark.skipif(bool(domains.missing()), reason=f"missing: {domains.missing()}")
def test_a_new_tap_can_be_opened_before_the_filter_is_loaded_and_is_joined_to_nothing_until_then(tmp_path: Path) -> None:
    host = domains.Host(tmp_path)
    domain = domains.isolated(21)
    name, device = namespace_name(host.tag, domain.id), tap(domain.ports[0].id)
    seen: list[tuple[bool, str]] = []

    def link() -> str:
        return namespaces.inside(name, lambda: os.popen(f"ip -o link show {device}").read())

    def look() -> None:
        seen.append((namespaces.inside(name, lambda: nft_load.table_exists("bridge", nft_load.TABLE)), link()))
        os.close(host.driver.open_tap(domain.id, domain.ports[0].id))

    try:
        host.do(host.driver.apply(domain, look))
        assert [filtered for filtered, _ in seen] == [False]
        assert "master" not in seen[0][1] and "state DOWN" in seen[0][1]
        assert "master" in link() and ",UP" in link()
        host.do(host.driver.apply(domain, look))
        assert len(seen) == 1, "nothing to do, so nobody is told earlier than by the end of it"
    finally:
        host.close()
