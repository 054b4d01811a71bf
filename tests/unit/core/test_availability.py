"""Which servers start elsewhere, how a host is fenced, and when it counts as fenced."""

from typing import Any

import pytest

from pileus.core.availability import Fence, fence_of, is_fenced, parse_fence, restarts_elsewhere
from pileus.model.errors import Invalid
from pileus.model.guests import ObservedGuest, ObservedPower
from pileus.model.hosts import Host
from pileus.model.servers import Server, ServerFlavor


def server(said: str | None = None, flavor: str | None = None, **fields: Any) -> Server:
    specs = {} if flavor is None else {"HA_Enabled": flavor}
    return Server(
        id="s", project_id="p", user_id="u", name="s", hostname="s", vcpus=1, memory_mib=64,
        flavor=ServerFlavor(id="1", name="tiny", vcpus=1, ram=64, disk=1, extra_specs=specs),
        metadata={} if said is None else {"HA_Enabled": said}, **{"host": "h1", **fields},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "said", "flavor", "expected"),
    [
        ("marked", None, None, False),
        ("marked", "True", None, True),
        ("marked", None, "true", True),
        ("marked", "false", "true", False),
        ("marked", "yes", "no", True),
        ("marked", "perhaps", None, False),
        ("all", None, None, True),
        ("all", "False", None, False),
        ("all", " on ", "off", True),
        ("none", "True", "True", False),
        ("none", None, None, False),
    ],
)
def test_policy_and_marks_say_whether_a_server_starts_elsewhere(policy: str, said: str | None, flavor: str | None, expected: bool) -> None:
    assert restarts_elsewhere(server(said, flavor), policy) is expected


def test_a_server_that_is_deleted_or_on_no_host_does_not_start_elsewhere() -> None:
    assert not restarts_elsewhere(server(deleted_at=1.0), "all")
    assert not restarts_elsewhere(server(host=None), "all")


def test_a_suspended_server_waits_for_its_memory() -> None:
    assert not restarts_elsewhere(server("True", observed=ObservedGuest(id="s", power=ObservedPower.SUSPENDED)), "all")
    assert restarts_elsewhere(server("True", observed=ObservedGuest(id="s", power=ObservedPower.STOPPED)), "all")


def host(**fields: Any) -> Host:
    return Host(id="rp1", created_at=0.0, updated_at=0.0, name="h1", number=1, service_id="x", **fields)


def test_a_host_is_fenced_until_it_reports_again() -> None:
    assert not is_fenced(host(seen_at=5.0))
    assert is_fenced(host(seen_at=5.0, fenced_at=6.0))
    assert not is_fenced(host(seen_at=7.0, fenced_at=6.0))


@pytest.mark.parametrize(
    ("text", "fence"),
    [
        ("command:/usr/local/bin/off --now", Fence(kind="command", target="/usr/local/bin/off --now")),
        ("ipmi://root@10.0.0.9", Fence(kind="ipmi", target="10.0.0.9", user="root")),
        ("ipmi://root@bmc.example:6230", Fence(kind="ipmi", target="bmc.example:6230", user="root")),
        ("ipmi://root@[fd00::9]:623", Fence(kind="ipmi", target="[fd00::9]:623", user="root")),
        (
            "redfish://admin@bmc.example:8443/redfish/v1/Systems/1/",
            Fence(kind="redfish", target="bmc.example:8443/redfish/v1/Systems/1", user="admin"),
        ),
    ],
)
def test_a_way_to_fence_is_read(text: str, fence: Fence) -> None:
    assert parse_fence(text) == fence


@pytest.mark.parametrize(
    "text",
    ["", "command:", "command: ", "ipmi://10.0.0.9", "ipmi://root@", "redfish://admin@bmc", "redfish://bmc/redfish/v1/Systems/1", "ssh://h",
     "ipmi://root@bmc:many", "ipmi://root@bmc:99999"],
)  # fmt: skip
def test_what_is_no_way_to_fence_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(Invalid, match="fencing"):
        parse_fence(text)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(Invalid, match=r"secrets/fencing\.json") as caught:
        parse_fence("ipmi://root:calvin@10.0.0.9")
    assert "calvin" not in caught.value.message


def test_a_host_by_name_comes_before_the_star() -> None:
    fencing = {"*": "command:all", "h1": "command:one"}
    assert fence_of("h1", fencing) == Fence(kind="command", target="one")
    assert fence_of("h2", fencing) == Fence(kind="command", target="all")
    assert fence_of("h2", {"h1": "command:one"}) is None
