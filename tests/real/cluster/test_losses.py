"""Processes that are killed during a move, a bus that hangs, a host that is lost: one copy of the guest, where the records say."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.cluster.host_cluster import HOSTS, Cluster, Connection
from tests.real.real_cloud import until

TRIES = 6
PARTIES = ("managers", "source", "destination", "guest at the destination", "bus", "database")


def kill(cluster: Cluster, party: str, source: str, destination: str) -> None:
    """SIGKILL to a process that takes part in a move; fine when there is no such process at this moment."""
    fabric, server = cluster.fabric, cluster.server_id
    pids = {
        "managers": lambda: cluster.pid(),
        "source": lambda: int((fabric.directory(source) / "pid").read_text()),
        "destination": lambda: int((fabric.directory(destination) / "pid").read_text()),
        "guest at the destination": lambda: next(iter(set(cluster.processes(server)) & set(fabric.pids(destination))), None),
        "bus": fabric.nats.pid,
        "database": fabric.postgresql.pid,
    }
    pid = pids[party]()
    if pid is not None:
        os.kill(pid, signal.SIGQUIT if party == "database" else signal.SIGKILL)
        until(lambda: not Path(f"/proc/{pid}").exists(), 10, "its end")


def survives(cluster: Cluster, party: str, moment: Callable[[], None]) -> str:
    """Move hello, kill a party at a moment, start again what was killed; then one copy goes on where the records say. How it ended."""
    source = cluster.host()
    destination = next(name for name in ("h1", "h2", "h3") if name != source)
    connection = Connection(cluster)
    try:
        cluster.admin().compute.live_migrate_server(cluster.server_id, host=destination, block_migration="auto")
        moment()
        kill(cluster, party, source, destination)
        cluster.up("--hosts", str(HOSTS), "--no-demo")  # starting again is the recovery
        ended = cluster.moved(cluster.server_id)
        assert ended in ("completed", "error")
        if party == "guest at the destination" and ended == "completed":  # it was the only one already, and ran
            assert len(cluster.processes(cluster.server_id)) <= 1
            compute = cluster.admin().compute
            if compute.get_server(cluster.server_id).status == "SHUTOFF":
                compute.start_server(cluster.server_id)
                compute.wait_for_server(compute.get_server(cluster.server_id), status="ACTIVE", wait=60)
        else:
            until(lambda: len(cluster.processes(cluster.server_id)) == 1, 60, "one copy alone")
            connection.goes_on()
    finally:
        connection.close()
    assert cluster.hello().status == "ACTIVE"
    assert cluster.processes(cluster.server_id)[0] in cluster.fabric.pids(cluster.host()), "the record names another host than the guest's"
    cluster.verify()
    return ended


@pytest.mark.parametrize("party", PARTIES)
def test_whatever_process_is_killed_during_a_move_one_copy_of_the_guest_goes_on(cluster: Cluster, party: str) -> None:
    survives(
        cluster, party, lambda: until(lambda: len(cluster.processes(cluster.server_id)) == 2, 30, "a guest waiting at the destination")
    )


def test_processes_killed_at_random_moments_of_moves_leave_one_copy_of_the_guest(cluster: Cluster) -> None:
    seed = os.environ.get("PILEUS_SEED") or str(time.time_ns())
    print(f"PILEUS_SEED={seed}")  # pytest shows it when this fails
    chance = random.Random(seed)
    for _ in range(int(os.environ.get("PILEUS_KILLS", "4"))):
        party, seconds = chance.choice(PARTIES), chance.uniform(0.0, 1.5)
        ended = survives(cluster, party, lambda seconds=seconds: time.sleep(seconds))  # type: ignore[misc]
        print(f"{party} killed after {seconds:.2f} s: {ended}")


def test_a_guest_that_dies_while_it_moves_is_off_where_its_disk_is_and_starts_again(cluster: Cluster) -> None:
    server, source = cluster.hello(), cluster.host()
    compute = cluster.admin().compute
    (pid,) = cluster.processes(server.id)
    compute.live_migrate_server(server, host=None, block_migration="auto")
    until(lambda: len(cluster.processes(server.id)) == 2, 30, "a guest waiting at the destination")
    os.kill(pid, signal.SIGKILL)
    ended = cluster.moved(server.id)
    until(lambda: len(cluster.processes(server.id)) == (1 if ended == "completed" else 0), 60, "nothing doubled")
    if ended != "completed":  # it had not been given away: it is where it was
        assert cluster.host() == source
        compute.wait_for_server(compute.get_server(server.id), status="SHUTOFF", wait=60)
        compute.start_server(server)
        compute.wait_for_server(compute.get_server(server.id), status="ACTIVE", wait=60)
    assert cluster.ssh(cluster.address(), "hostname", timeout=120) == "hello"
    cluster.verify()


async def _reaches(url: str, server_id: str, step: str, within: float = 60.0) -> None:
    """Until the records say that a server's newest migration is at a step; looked at as often as that is possible."""
    import asyncpg

    connection = await asyncpg.connect(url)
    newest = "SELECT step FROM server_migrations WHERE server_id = $1 ORDER BY number DESC LIMIT 1"
    try:
        async with asyncio.timeout(within):
            while await connection.fetchval(newest, server_id) != step:
                pass
    finally:
        await connection.close()


def lose_at_the_switch(cluster: Cluster, source: str, destination: str) -> str:
    """Move hello; the managers stand still once the records name the destination, which is lost meanwhile. How it ended, and where."""
    fabric, server, managers = cluster.fabric, cluster.server_id, cluster.pid()
    cluster.admin().compute.live_migrate_server(server, host=destination, block_migration="auto")
    asyncio.run(_reaches(str(fabric.config.database), server, "finish"))
    os.kill(managers, signal.SIGSTOP)
    try:
        kill(cluster, "destination", source, destination)
        kill(cluster, "guest at the destination", source, destination)
    finally:
        os.kill(managers, signal.SIGCONT)
    cluster.up("--hosts", str(HOSTS), "--no-demo")
    return cluster.moved(server)


def test_a_destination_that_is_lost_when_the_records_name_it_and_it_has_not_begun_gives_the_guest_back(cluster: Cluster) -> None:
    """It may have begun by then, or be evacuated as it takes so long to come back: then the guest has died, and it is tried again."""
    for _ in range(TRIES):
        source = cluster.host()
        destination = next(name for name in ("h1", "h2", "h3") if name != source)
        connection = Connection(cluster)
        try:
            ended = lose_at_the_switch(cluster, source, destination)
            newest = max(cluster.admin().compute.migrations(instance_uuid=cluster.server_id), key=lambda one: one.id)
            print(f"{newest.status} on {cluster.host()}, from {source} to {destination}")
            if ended == "error" and cluster.host() == source:
                until(lambda: len(cluster.processes(cluster.server_id)) == 1, 60, "one copy alone")
                connection.goes_on()
                cluster.verify()
                return
        finally:
            connection.close()
        compute = cluster.admin().compute
        if compute.get_server(cluster.server_id).status == "SHUTOFF":
            compute.start_server(cluster.server_id)
        compute.wait_for_server(compute.get_server(cluster.server_id), status="ACTIVE", wait=120)
        assert cluster.ssh(cluster.address(), "hostname", timeout=180) == "hello"
    pytest.fail(f"in {TRIES} moves the destination had always begun")


def test_reads_and_writes_are_answered_while_the_bus_is_away_and_done_when_it_is_back(cluster: Cluster) -> None:
    pid = cluster.fabric.nats.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # it hangs, which is worse than being gone
    try:
        compute = cluster.connect().compute
        server = compute.find_server("hello")
        compute.set_server_metadata(server, written="meanwhile")
        compute.reboot_server(server, "HARD")
        assert compute.get_server(server.id).status == "HARD_REBOOT"
    finally:
        os.kill(pid, signal.SIGCONT)
    compute.wait_for_server(compute.get_server(server.id), status="ACTIVE", wait=120)
    assert compute.get_server(server.id).metadata["written"] == "meanwhile"
    assert cluster.ssh(cluster.address(), "hostname", timeout=120) == "hello"
    cluster.verify()


def test_the_server_of_a_lost_host_comes_back_elsewhere_and_the_host_cleans_up(cluster: Cluster) -> None:
    server, lost = cluster.hello(), cluster.host()
    cluster.ssh(cluster.address(), "echo survives > /home/pileus/note; sync")
    for pid in cluster.fabric.pids(lost):
        os.kill(pid, signal.SIGKILL)
    until(lambda: cluster.host() != lost, 90, "another host")
    compute = cluster.admin().compute
    compute.wait_for_server(compute.get_server(server.id), status="ACTIVE", wait=60)
    assert cluster.ssh(cluster.address(), "cat /home/pileus/note", timeout=120) == "survives"
    assert len(cluster.processes(server.id)) == 1
    cluster.up("--hosts", str(HOSTS), "--no-demo")
    left = cluster.fabric.directory(lost) / "node" / "guests" / server.id
    until(lambda: not left.exists(), 60, "the lost host having cleaned up")
    assert len(cluster.processes(server.id)) == 1
    assert cluster.ssh(cluster.address(), "hostname") == "hello"
    cluster.verify()
