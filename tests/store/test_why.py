"""What `pileus why` says."""

import asyncio
import uuid
from pathlib import Path

import click

from pileus.cli.why import look, text
from pileus.config import Config
from pileus.core.placement import choose
from pileus.model.placement import HostState, HostView, Inventory, PlacementRequest
from pileus.model.servers import Server, ServerFault, ServerFlavor
from pileus.store import decisions, servers
from pileus.store.database import Transaction
from pileus.store.open import open_database
from pileus.store.schema import migrate


def host(name: str, used: int, cluster: str) -> HostView:
    stocks = (("MEMORY_MB", Inventory(total=1024, max_unit=1024), used),)
    return HostView(id=name, name=name, generation=0, state=HostState(zone="nova", cluster=cluster, stocks=stocks))


HOSTS = [host("h1", 768, "east"), host("h2", 512, "west"), host("h3", 896, "west")]


def test_a_success_names_clusters_hosts_and_weights() -> None:
    said = click.unstyle(text(choose(PlacementRequest(resources={"MEMORY_MB": 200}), HOSTS)))
    assert said.splitlines() == [
        "Placed on h2 of cluster west (31% of it is free, the most of 2 clusters with hosts that fit): the best of 2 hosts that fit, of 3.",
        "  wanted: 200 MEMORY_MB",
        "  capacity: removed h3: MEMORY_MB: 200 wanted, 128 free",
        "  cluster west: 31% of it is free, the most of 2 clusters with hosts that fit",
        "    west                   1 hosts fit, 31% free",
        "    east                   1 hosts fit, 25% free",
        "  h2                       0.500  (ram 0.50)",
    ]


def test_a_failure_names_the_nearest_fits() -> None:
    said = click.unstyle(text(choose(PlacementRequest(resources={"MEMORY_MB": 600}), HOSTS)))
    assert "Nearest: h2 needs 88 MiB of memory more." in said.splitlines()[0]
    assert said.splitlines()[-2:] == [
        "  next nearest: h1 needs 344 MiB of memory more.",
        "  next nearest: h3 needs 472 MiB of memory more.",
    ]


def test_a_request_for_several_says_whether_it_was_satisfied_wholly_or_in_part(tmp_path: Path) -> None:
    config = Config(state=str(tmp_path))
    fault = ServerFault(code=500, message="No valid host was found.", created_at=1.0)
    made = [
        Server(
            id=str(uuid.uuid4()), created_at=5.0, updated_at=5.0, project_id="p", user_id="u", name=f"s{number}", hostname="s", vcpus=1,
            memory_mib=64, flavor=ServerFlavor(id="1", name="tiny", vcpus=1, ram=64, disk=1), reservation_id="r-1", launch_index=number,
            host="h1" if number < 2 else None, fault=fault if number == 2 else None,
        )
        for number in range(3)
    ]  # fmt: skip

    async def script() -> str:
        db = open_database(config)
        await migrate(db)

        async def work(tx: Transaction) -> None:
            await servers.insert_servers(tx, made)
            for one in made:
                await decisions.keep(tx, one.id, choose(PlacementRequest(resources={"MEMORY_MB": 64}), HOSTS))

        await db.write(work)
        await db.close()
        return (await look(config, "s2")).together

    assert asyncio.run(script()) == "Asked for with 2 others: in part satisfied, 2 of 3 have a host; s2 without one."
