"""The decision of a placement: what is filtered, what is preferred, what is said of it."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pileus.core.placement import choose
from pileus.core.placement_hosts import Hosts
from pileus.model.placement import Decision, HostState, HostView, Inventory, PlacementRequest, TraitWish

SMALL = {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 1}


def host(name: str, *, memory: int = 4096, used: int = 0, vcpus: int = 4, vcpus_used: int = 0, **state: object) -> HostView:
    stocks = (
        ("DISK_GB", Inventory(total=100, max_unit=100), 0),
        ("MEMORY_MB", Inventory(total=memory, max_unit=memory), used),
        ("VCPU", Inventory(total=vcpus, max_unit=vcpus, allocation_ratio=4.0), vcpus_used),
    )
    return HostView(id=f"id-{name}", name=name, generation=3, state=HostState(**{"zone": "nova", "stocks": stocks, **state}))


def ask(**what: object) -> PlacementRequest:
    return PlacementRequest(**{"resources": SMALL, **what})


def removed(decision: Decision) -> dict[str, list[str]]:
    return {one.filter: sorted(name for reason in one.reasons for name in reason.hosts) for one in decision.removals}


def test_the_host_with_most_room_is_chosen_and_the_others_are_alternates() -> None:
    decision = choose(ask(), [host("h1", used=2048), host("h2"), host("h3", used=1024)])
    assert (decision.host, decision.provider_id, decision.generation) == ("h2", "id-h2", 3)
    assert decision.alternates == ["h3", "h1"]
    assert [score.host for score in decision.scores] == ["h2", "h3", "h1"]
    assert decision.scores[0].weights == {"ram": 1.0, "cpu": 1.0, "disk": 1.0}
    assert decision.scores[1].weights["ram"] == 0.75


def test_each_filter_says_which_hosts_it_removed_and_why() -> None:
    hosts = [
        host("good", traits=frozenset({"HW_CPU_X86_AVX"})),
        host("off", enabled=False, disabled_reason="new disks"),
        host("silent", up=False),
        host("far", zone="other"),
        host("plain"),
        host("full", traits=frozenset({"HW_CPU_X86_AVX"}), used=4000),
    ]
    wish = TraitWish(trait="HW_CPU_X86_AVX", source="flavor's trait:HW_CPU_X86_AVX=required")
    decision = choose(ask(zone="nova", traits=[wish]), hosts)
    assert decision.host == "good"
    assert list(removed(decision).items()) == [
        ("enabled", ["off"]),
        ("up", ["silent"]),
        ("availability zone", ["far"]),
        ("traits", ["plain"]),
        ("capacity", ["full"]),
    ]
    assert decision.removals[0].reasons[0].text == "disabled: new disks"
    assert decision.removals[-1].reasons[0].text == "MEMORY_MB: 512 wanted, 96 free"


def test_a_forbidden_trait_keeps_a_server_away() -> None:
    hosts = [host("h1", traits=frozenset({"CUSTOM_SLOW"})), host("h2", used=3000)]
    assert choose(ask(traits=[TraitWish(trait="CUSTOM_SLOW", source="flavor", forbidden=True)]), hosts).host == "h2"


def test_overcommit_and_what_is_reserved_make_the_capacity() -> None:
    stocks = (("MEMORY_MB", Inventory(total=1000, reserved=200, allocation_ratio=1.5), 700),)
    view = HostView(id="1", name="h1", generation=0, state=HostState(zone="nova", stocks=stocks))
    assert choose(PlacementRequest(resources={"MEMORY_MB": 500}), [view]).host == "h1"
    assert choose(PlacementRequest(resources={"MEMORY_MB": 501}), [view]).host is None


def test_a_failure_names_what_the_nearest_host_lacks() -> None:
    hosts = [host("h1", used=3900), host("h2", used=3700), host("h3", up=False)]
    decision = choose(ask(), hosts)
    assert decision.nearest == "Nearest: h2 needs 116 MiB of memory more."
    assert "Of 3 hosts" in decision.message and "capacity removed 2" in decision.message


def test_a_failure_without_a_host_that_passes_the_other_filters_names_the_filter() -> None:
    assert choose(ask(), [host("h1", enabled=False)]).nearest == "Nearest: h1, disabled."
    assert choose(ask(), []).message == "No valid host was found. There are no hosts."
    assert choose(ask(host="h9"), [host("h1")]).nearest == "There is no host h9."


def test_a_requested_host_is_the_only_one_considered_good() -> None:
    decision = choose(ask(host="h1"), [host("h1", used=3000), host("h2")])
    assert decision.host == "h1"
    assert removed(decision) == {"requested host": ["h2"]}


def test_hints_and_server_groups_look_at_the_hosts_of_other_servers() -> None:
    hosts = [host("h1"), host("h2", used=1000), host("h3", used=2000)]
    assert choose(ask(same_host=frozenset({"h3"})), hosts).host == "h3"
    assert choose(ask(different_host=frozenset({"h1"})), hosts).host == "h2"
    assert choose(ask(group_policy="affinity", group_hosts={"h2": 1}), hosts).host == "h2"
    assert choose(ask(group_policy="affinity"), hosts).host == "h1"
    assert choose(ask(group_policy="anti-affinity", group_hosts={"h1": 1, "h2": 1}), hosts).host == "h3"
    assert choose(ask(group_policy="anti-affinity", group_hosts={"h1": 1}, max_per_host=2), hosts).host == "h1"
    assert choose(ask(group_policy="anti-affinity", group_hosts={"h1": 1, "h2": 1, "h3": 1}), hosts).host is None
    assert choose(ask(avoid={"h1": "the disk could not be made"}), hosts).host == "h2"


def test_the_soft_policies_prefer_but_do_not_insist() -> None:
    hosts = [host("h1"), host("h2")]
    assert choose(ask(group_policy="soft-anti-affinity", group_hosts={"h1": 1}), hosts).host == "h2"
    assert choose(ask(group_policy="soft-affinity", group_hosts={"h2": 2, "h1": 1}), hosts).host == "h2"
    assert choose(ask(group_policy="soft-anti-affinity", group_hosts={"h1": 1}), hosts[:1]).host == "h1"


def test_aggregates_and_their_metadata_restrict() -> None:
    hosts = [host("h1"), host("h2", used=9, aggregates=frozenset({"a"}), metadata=frozenset({("disk", "ssd")}))]
    assert choose(ask(aggregates=[["a", "b"]]), hosts).host == "h2"
    assert choose(ask(metadata={"disk": "ssd"}), hosts).host == "h2"
    assert choose(ask(metadata={"disk": "hdd"}), hosts).host is None


def test_equal_hosts_are_told_apart_by_the_seed() -> None:
    hosts = [host(f"h{number}") for number in range(5)]
    assert {choose(ask(seed=seed), hosts).host for seed in range(5)} == {"h0", "h1", "h2", "h3", "h4"}


views = st.lists(
    st.builds(
        host,
        name=st.sampled_from([f"h{number}" for number in range(12)]),
        memory=st.sampled_from([512, 2048, 4096]),
        used=st.sampled_from([0, 512, 1024]),
        vcpus_used=st.integers(0, 16),
        enabled=st.booleans(),
        zone=st.sampled_from(["nova", "other"]),
        traits=st.sampled_from([frozenset(), frozenset({"CUSTOM_A"})]),
    ),
    max_size=12,
    unique_by=lambda view: view.name,
)
requests = st.builds(
    ask,
    resources=st.fixed_dictionaries({"VCPU": st.integers(1, 8), "MEMORY_MB": st.sampled_from([256, 1024, 4096])}),
    zone=st.sampled_from([None, "nova"]),
    host=st.sampled_from([None, None, "h1"]),
    traits=st.sampled_from([[], [TraitWish(trait="CUSTOM_A", source="test")]]),
    different_host=st.sampled_from([frozenset(), frozenset({"h1", "h2"})]),
    group_policy=st.sampled_from([None, "affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"]),
    group_hosts=st.sampled_from([{}, {"h3": 1}, {"h3": 2, "h4": 1}]),
    seed=st.integers(0, 1000),
)


@given(views, requests)
@settings(max_examples=300, deadline=None)
def test_whatever_is_asked_the_chosen_host_fits_and_every_host_is_accounted_for(hosts: list[HostView], request: PlacementRequest) -> None:
    decision = choose(request, hosts)
    assert decision.considered == len(hosts) == decision.fitting + sum(one.count for one in decision.removals)
    assert (decision.host is None) == (decision.fitting == 0)
    if decision.host is None:
        assert decision.nearest or not hosts
        return
    state = next(view.state for view in hosts if view.name == decision.host)
    assert state.enabled and request.zone in (None, state.zone)
    for name, inventory, used in state.stocks:
        assert used + request.resources.get(name, 0) <= inventory.capacity
    assert decision.scores[0].host == decision.host
    assert decision.host not in decision.alternates and len(set(decision.alternates)) == len(decision.alternates)


@given(views, requests, st.randoms())
@settings(max_examples=100, deadline=None)
def test_neither_the_order_of_hosts_nor_their_history_matters(hosts: list[HostView], request: PlacementRequest, random: object) -> None:
    shuffled = list(hosts)
    random.shuffle(shuffled)
    kept = Hosts()
    for view in shuffled:
        kept.put(msgspec.structs.replace(view, state=HostState(zone="before")))
    kept.put(HostView(id="x", name="gone", generation=0, state=HostState(zone="x")))
    for view in shuffled:
        kept.put(view)
    kept.drop("gone")
    assert choose(request, hosts) == choose(request, kept)
