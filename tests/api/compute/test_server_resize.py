"""Resizing: asked for, tried out, kept or taken back, with what the host gives for it."""

from typing import Any

import pytest

from pileus.model.placement import Claim
from pileus.model.ports import PortRates, Rate
from pileus.model.servers import Server
from pileus.reconcile import server_resize
from pileus.reconcile.migrations import Migrations
from pileus.store import allocations, hosts, providers, servers
from pileus.store.database import Transaction
from pileus.store.ports import PORTS
from tests.api.compute.conftest import Compute


@pytest.fixture
def resizable(compute: Compute) -> tuple[Compute, str]:
    """A server with flavor 1 that has its share of the host."""
    server = compute.running()

    async def claim(tx: Transaction) -> None:
        host = await hosts.HOSTS.first(tx, "name = 'one'")
        assert host and host.report
        provider = await providers.register_host(tx, host.report, provider_id=host.id, ratios={})
        shares = {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 1}
        await allocations.claim(
            tx,
            Claim(
                consumer_id=server, provider_id=provider.id, generation=provider.generation, resources=shares, project_id="p", user_id="u"
            ),
        )

    compute.cloud.write(claim)
    return compute, server


def seen(compute: Compute, server: str) -> Server:
    return compute.cloud.run(servers.get(compute.cloud.db, server))


def advance(compute: Compute, server: str) -> None:
    compute.cloud.run(server_resize.advance(compute.cloud.db, seen(compute, server)))


def move(compute: Compute, server: str) -> None:
    """What the migrations' reconciler does about it, as far as that goes without another host."""
    cloud = compute.cloud
    steps = Migrations(cloud.db, cloud.bus, cloud.cloud.config, cloud.cloud.wake)
    migration = seen(compute, server).migration
    assert migration is not None
    while cloud.run(steps.step(migration)) is not None:
        pass


def share(compute: Compute, server: str) -> dict[str, int]:
    return compute.cloud.run(allocations.of_consumer(compute.cloud.db, server))[0].resources


def states(compute: Compute, server: str) -> tuple[Any, ...]:
    shown = compute.show(server)
    return shown["status"], shown["OS-EXT-STS:vm_state"], shown["OS-EXT-STS:task_state"], shown["flavor"]["original_name"]


def resized(compute: Compute, server: str) -> None:
    assert compute.act(server, "resize", {"flavorRef": "2"}).status == 202
    assert states(compute, server) == ("RESIZE", "active", "resize_prep", "m1.tiny")
    advance(compute, server)
    assert states(compute, server) == ("RESIZE", "active", "resize_finish", "m1.small")
    compute.settle(server)
    assert states(compute, server) == ("VERIFY_RESIZE", "resized", None, "m1.small")


def test_a_resize_restarts_the_server_and_is_kept(resizable: tuple[Compute, str]) -> None:
    compute, server = resizable
    resized(compute, server)
    assert (seen(compute, server).reboots_soft, seen(compute, server).reboots_hard) == (1, 0)
    assert compute.act(server, "reboot", {"reboot": {"type": "HARD"}}).status != 202
    assert compute.act(server, "confirmResize").status == 204
    advance(compute, server)
    assert states(compute, server) == ("ACTIVE", "active", None, "m1.small")
    assert share(compute, server) == {"VCPU": 1, "MEMORY_MB": 2048, "DISK_GB": 20}
    assert [one["action"] for one in compute.call("GET", f"/servers/{server}/os-instance-actions").json["instanceActions"]][:2] == [
        "confirmResize",
        "resize",
    ]


def test_a_resize_is_taken_back(resizable: tuple[Compute, str]) -> None:
    compute, server = resizable
    resized(compute, server)
    assert compute.act(server, "revertResize").status == 202
    assert states(compute, server) == ("REVERT_RESIZE", "resized", "resize_reverting", "m1.small")
    advance(compute, server)
    assert states(compute, server) == ("REVERT_RESIZE", "resized", "resize_reverting", "m1.tiny")
    compute.settle(server)
    advance(compute, server)
    assert states(compute, server) == ("ACTIVE", "active", None, "m1.tiny")
    assert share(compute, server) == {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 1}


def rates(compute: Compute, server: str) -> list[PortRates | None]:
    return [port.rates for port in compute.cloud.run(PORTS.find(compute.cloud.db, "device_id = ?", server))]


def test_a_ports_rates_are_those_of_its_servers_flavor(resizable: tuple[Compute, str]) -> None:
    compute, server = resizable
    specs = {"extra_specs": {"quota:vif_inbound_average": "2000", "quota:vif_outbound_average": "1000"}}
    assert compute.call("POST", "/flavors/2/os-extra_specs", specs, who="admin").status == 200
    assert rates(compute, server) == [None]
    resized(compute, server)
    slow = PortRates(inbound=Rate(average=2_000_000, burst=2_000_000), outbound=Rate(average=1_000_000, burst=1_000_000))
    assert rates(compute, server) == [slow]
    assert compute.act(server, "revertResize").status == 202
    advance(compute, server)
    assert rates(compute, server) == [None]


def test_a_flavor_for_which_the_host_has_no_room_ends_the_resize_alone(resizable: tuple[Compute, str]) -> None:
    compute, server = resizable
    body = {"flavor": {"name": "huge", "ram": 32768, "vcpus": 1, "disk": 1, "id": "huge"}}
    assert compute.call("POST", "/flavors", body, who="admin").status == 200
    assert compute.act(server, "resize", {"flavorRef": "huge"}).status == 202
    advance(compute, server)
    assert states(compute, server) == ("RESIZE", "active", "resize_migrating", "m1.tiny")
    move(compute, server)
    assert states(compute, server) == ("ACTIVE", "active", None, "m1.tiny")
    request_id = compute.call("GET", f"/servers/{server}/os-instance-actions").json["instanceActions"][0]["request_id"]
    action = compute.call("GET", f"/servers/{server}/os-instance-actions/{request_id}", who="admin").json["instanceAction"]
    assert (action["message"], action["events"][0]["result"]) == ("Error", "Error")
    assert share(compute, server)["MEMORY_MB"] == 512


@pytest.mark.parametrize(("flavor", "status"), [("none", 400), ("", 400), ("1", 400)])
def test_a_flavor_that_can_not_be_is_refused(resizable: tuple[Compute, str], flavor: str, status: int) -> None:
    compute, server = resizable
    assert compute.act(server, "resize", {"flavorRef": flavor}).status == status


def test_a_resize_counts_against_the_quota_and_waits_for_a_server_at_rest(resizable: tuple[Compute, str]) -> None:
    compute, server = resizable
    quota = {"quota_set": {"ram": 1000}}
    assert compute.call("PUT", f"/os-quota-sets/{compute.cloud.project_id()}", quota, who="admin").status == 200
    assert compute.act(server, "resize", {"flavorRef": "2"}).status == 403
    assert compute.act(server, "confirmResize").status == 409
    assert compute.act(server, "os-stop").status == 202
    assert compute.act(server, "resize", {"flavorRef": "2"}).status == 409
