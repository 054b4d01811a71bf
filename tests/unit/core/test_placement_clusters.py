"""The first level of a placement: which cluster, and why that one."""

from pileus.core.placement import choose
from pileus.core.placement_hosts import Hosts
from pileus.model.placement import HostState, HostView, Inventory, PlacementRequest


def host(name: str, cluster: str, used: int = 0, **state: object) -> HostView:
    stocks = (("MEMORY_MB", Inventory(total=4096, max_unit=4096), used), ("VCPU", Inventory(total=4, max_unit=4, allocation_ratio=4.0), 0))
    return HostView(
        id=f"id-{name}", name=name, generation=0, state=HostState(**{"zone": "nova", "cluster": cluster, "stocks": stocks, **state})
    )


def ask(memory: int = 512, **what: object) -> PlacementRequest:
    return PlacementRequest(**{"resources": {"MEMORY_MB": memory}, **what})


EAST_AND_WEST = [host("e1", "east", 2048), host("e2", "east", 0), host("w1", "west", 1024), host("w2", "west", 512)]


def test_the_freest_cluster_is_chosen_even_where_the_best_host_is_in_another() -> None:
    decision = choose(ask(), EAST_AND_WEST)
    assert (decision.cluster, decision.host) == ("west", "w2")
    assert decision.cluster_reason == "91% of it is free, the most of 2 clusters with hosts that fit"
    assert [(one.cluster, one.fitting, one.free) for one in decision.clusters] == [("west", 2, 0.90625), ("east", 2, 0.875)]
    assert decision.message.startswith("Placed on w2 of cluster west (91% of it is free")
    assert {one.host for one in decision.scores} == {"w1", "w2"}


def test_a_cluster_without_a_host_that_fits_is_not_chosen() -> None:
    decision = choose(ask(4096), EAST_AND_WEST)
    assert (decision.host, decision.cluster_reason) == ("e2", "the only one with a host that fits")


def test_what_is_free_on_hosts_that_are_down_or_disabled_counts_for_nothing() -> None:
    hosts = Hosts([*EAST_AND_WEST, host("w3", "west", up=False), host("w4", "west", enabled=False)])
    hosts.settle()
    assert hosts.free_share("west") == 0.90625


def test_a_soft_policy_of_a_group_comes_before_the_freest_cluster() -> None:
    near = choose(ask(group_policy="soft-affinity", group_hosts={"e1": 1}), EAST_AND_WEST)
    assert (near.host, near.cluster_reason) == ("e1", "it has hosts of the server group")
    apart = choose(ask(group_policy="soft-anti-affinity", group_hosts={"w1": 1, "w2": 1}), EAST_AND_WEST)
    assert (apart.host, apart.cluster_reason) == ("e2", "it has hosts without members of the server group")


def test_a_cloud_of_one_cluster_says_nothing_of_clusters() -> None:
    assert choose(ask(), [host("h1", "default")]).message == "Placed on h1: the best of 1 hosts that fit, of 1."
