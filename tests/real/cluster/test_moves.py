"""Servers that move from host to host while somebody is connected, and what they can do afterwards."""

from typing import Any

from tests.real.cluster.host_cluster import Cluster, Connection
from tests.real.real_cloud import boots, gone, ready, until


def test_a_server_moves_ten_times_while_somebody_is_connected_through_its_floating_ip(cluster: Cluster) -> None:
    server = cluster.hello()
    connection = Connection(cluster)
    try:
        visited = [cluster.host()]
        for _ in range(10):
            assert cluster.live_migrate() == "completed"
            visited.append(cluster.host())
            assert visited[-1] != visited[-2]
            assert len(cluster.processes(server.id)) == 1
            connection.goes_on()
    finally:
        connection.close()
    shown = cluster.pileus("migration", "watch", server.id).stdout
    assert "completed" in shown
    cluster.verify()


def test_a_stopped_server_moves_with_its_disk_and_waits_for_a_word(cluster: Cluster) -> None:
    server, before = cluster.hello(), cluster.host()
    cluster.ssh(cluster.address(), "echo kept > /home/pileus/note; sync")
    compute = cluster.admin().compute
    compute.migrate_server(server)
    compute.wait_for_server(compute.get_server(server.id), status="VERIFY_RESIZE", wait=120)
    compute.confirm_server_resize(server)
    compute.wait_for_server(compute.get_server(server.id), status="ACTIVE", wait=60)
    assert cluster.host() != before
    assert cluster.ssh(cluster.address(), "cat /home/pileus/note", timeout=120) == "kept"
    cluster.verify()


def test_a_server_that_has_moved_does_all_that_others_do(cluster: Cluster) -> None:
    connection, compute = cluster.connect(), cluster.connect().compute
    network = connection.network.find_network("private").id
    server = boots(connection, "wanderer", network)
    ready(connection, server)
    cluster.admin().compute.live_migrate_server(server, host=None, block_migration="auto")
    assert cluster.moved(server.id) == "completed"

    def now(status: str, wait: int = 120) -> Any:
        return compute.wait_for_server(compute.get_server(server.id), status=status, wait=wait)

    compute.pause_server(server)
    now("PAUSED")
    cluster.admin().compute.live_migrate_server(server, host=None, block_migration="auto")
    assert cluster.moved(server.id) == "completed"
    now("PAUSED")
    compute.unpause_server(server)
    now("ACTIVE")
    image = compute.create_server_image(server, "wanderer-copy", wait=True, timeout=180)
    assert connection.image.get_image(image.id).status == "active"
    compute.reboot_server(server, "HARD")
    now("ACTIVE")
    ready(connection, server)
    compute.stop_server(server)
    now("SHUTOFF")
    compute.start_server(server)
    now("ACTIVE")
    compute.resize_server(server, compute.find_flavor("m1.tiny").id)
    now("VERIFY_RESIZE", 180)
    compute.revert_server_resize(server)
    now("ACTIVE")
    compute.rebuild_server(server, image=image.id)
    until(lambda: compute.get_server(server.id).status == "ACTIVE", 120, "the rebuild")
    cluster.verify()
    gone(connection, server)
    connection.image.delete_image(image)
    cluster.verify()
