"""`up --simulate N --seed S --faults FILE`: what goes wrong is what the file says, for whoever uses openstacksdk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_command_line import Cloud, until

PLAN = """
[operations.build]
takes = [0.0, 0.05]
fails = 0.4
error = "The disk of the host is full."
"""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path / "state")
    yield made
    if (made.state / "config.json").exists():
        made.start("down", "--destroy", "--yes").communicate(timeout=60)


def started(cloud: Cloud, plan: str, *options: str) -> Any:
    """The cloud with that plan, and a connection to it."""
    from openstack.config import OpenStackConfig
    from openstack.connection import Connection

    file = cloud.state.parent / "faults.toml"
    file.write_text(plan)
    cloud.up("--no-demo", "--faults", str(file), *options)
    config = OpenStackConfig(config_files=[str(cloud.state / "clouds.yaml")])
    return Connection(config=config.get_one("pileus"))


def create(connection: Any, name: str) -> Any:
    network = connection.network.find_network("double") or connection.network.create_network(name="double")
    if not network.subnet_ids:
        connection.network.create_subnet(network_id=network.id, cidr="10.7.0.0/24", ip_version=4)
    image, flavor = connection.compute.find_image("pileus-guest"), connection.compute.find_flavor("m1.nano")
    return connection.compute.create_server(name=name, image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}])


def built(connection: Any, name: str) -> str:
    """What becomes of a server: its status, and why."""
    from openstack.exceptions import ResourceFailure

    server = create(connection, name)
    try:
        return str(connection.compute.wait_for_server(server, interval=0.05, wait=30).status)
    except ResourceFailure:
        failed = connection.compute.get_server(server)
        return f"{failed.status}: {failed.fault['message']}"


def test_waiting_for_a_server_that_is_to_fail_ends_with_the_reason(cloud: Cloud) -> None:
    connection = started(cloud, PLAN.replace("0.4", "1"))
    assert built(connection, "first").startswith("ERROR: The disk of the host is full.")


def test_the_same_seed_and_requests_have_the_same_outcomes(tmp_path: Path) -> None:
    found: list[list[str]] = []
    for number, seed in enumerate((7, 7, 8)):
        cloud = Cloud(tmp_path / f"cloud{number}" / "state")
        cloud.state.parent.mkdir()
        try:
            connection = started(cloud, PLAN, "--seed", str(seed))
            found.append([built(connection, f"server-{index}") for index in range(8)])
        finally:
            cloud.start("down", "--destroy", "--yes").communicate(timeout=60)
    assert found[0] == found[1] != found[2]
    assert {one.partition(".")[0] for one in found[0]} == {"ACTIVE", "ERROR: The disk of the host is full"}


def test_a_build_has_no_valid_host(cloud: Cloud) -> None:
    connection = started(cloud, "[placement]\nfails = 1")
    assert built(connection, "first").startswith("ERROR: No valid host was found. There are not enough hosts available.")


def test_a_host_that_dies_takes_its_servers_down_until_they_are_started(cloud: Cloud) -> None:
    dies = "\n".join(f"[[hosts]]\nhost = {number}\nat = 3\nfor = 0.2\n" for number in (1, 2))
    connection = started(cloud, dies)
    assert built(connection, "first") == "ACTIVE"
    server = connection.compute.find_server("first")
    until(lambda: connection.compute.get_server(server).status == "SHUTOFF", "the end of the server with its host")
    connection.compute.start_server(server)
    connection.compute.wait_for_server(server, interval=0.05, wait=30)


def test_the_api_refuses_and_is_late_but_not_for_our_own_commands(cloud: Cloud) -> None:
    from openstack.exceptions import HttpException

    connection = started(cloud, "[api]\nservices = ['compute']\nrefuses = 1")
    connection.network.find_network("public", ignore_missing=False)
    with pytest.raises(HttpException) as refused:
        next(connection.compute.servers())
    assert refused.value.status_code == 503
    assert cloud.document("status")["servers"] is not None


def test_a_plan_that_is_wrong_keeps_nothing(cloud: Cloud) -> None:
    file = cloud.state.parent / "faults.toml"
    file.write_text("[operations.build]\nfails = 2")
    said = cloud.run("up", "--detach", "--simulate", "2", "--listen", cloud.listen, "--faults", str(file), code=1)
    assert "operations.build.fails" in said.stderr and not cloud.state.exists()
    said = cloud.run("up", "--detach", "--listen", cloud.listen, "--seed", "3", code=1)
    assert "--simulate" in said.stderr


def test_another_plan_needs_a_stop_first(cloud: Cloud) -> None:
    started(cloud, PLAN)
    cloud.up("--no-demo")  # the plan is kept
    said = cloud.run("up", "--detach", "--no-demo", "--seed", "5", code=1)
    assert "another plan of faults" in said.stderr
    cloud.run("down")
    cloud.up("--no-demo", "--seed", "5")
