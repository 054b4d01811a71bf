"""What each role of a cloud of several processes tells Prometheus: each its own, and figures of the whole cloud from one of them."""

import urllib.request
from collections.abc import Iterator

import pytest

from pileus.cli.settings import remember
from tests.driver.test_cloud_processes import Cloud, Process, free_port, until
from tests.exposition import Read, parse


class Watched(Cloud):
    """With an address for metrics in each process."""

    def start(self) -> None:
        for process in (self.one, self.two, *self.clusters):
            remember(process.state, metrics_listen=f"127.0.0.1:{free_port()}")
        super().start()

    def metrics(self, process: Process) -> dict[str, Read]:
        """What one process says."""
        address = remember(process.state).metrics_listen
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            return parse(answer.read().decode())


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    pytest.importorskip("nats")
    one = Watched(tmp_path_factory.mktemp("watched"))
    try:
        one.start()
        yield one
    finally:
        one.close()


def test_each_role_tells_its_own(cloud: Watched) -> None:
    server = cloud.server(cloud.one, "counted")
    until(lambda: cloud.one.api().get(f"/compute/v2.1/servers/{server}")["server"]["status"] == "ACTIVE", 30, "the server")
    api = cloud.metrics(cloud.one)
    assert api["pileus_requests_total"].total(service="nova", route="POST /v2.1/servers", status="202") >= 1
    assert api["pileus_audit_lines_total"].total() >= 1
    assert api["pileus_bus_connected"].total() == 1
    assert "pileus_reconcile_step_seconds" not in api and "pileus_hosts" not in api
    managers = [cloud.metrics(process) for process in cloud.clusters]
    assert all("pileus_requests_total" not in one for one in managers)
    (leader,) = [one for one in managers if "pileus_reconcile_step_seconds" in one]
    assert leader["pileus_lease_held"].total(lease="cluster/default") == 1
    assert leader["pileus_reconcile_step_seconds"].total(kind="servers") >= 2
    assert leader["pileus_placement_seconds"].total(outcome="placed") >= 1
    assert sum(one["pileus_lease_held"].total(lease="cluster/default") for one in managers) == 1


def test_figures_of_the_whole_cloud_come_from_one_process(cloud: Watched) -> None:
    found = [cloud.metrics(process) for process in (cloud.one, cloud.two, *cloud.clusters)]
    (one,) = [each for each in found if "pileus_hosts" in each]
    assert one["pileus_hosts"].total(state="up", enabled="true") == 1
    assert one["pileus_hosts_vcpus"].total() > one["pileus_hosts_vcpus_used"].total() >= 1
    assert one["pileus_servers"].total(status="ACTIVE") >= 1
