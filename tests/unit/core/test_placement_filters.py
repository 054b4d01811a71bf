"""The filters of a placement: what each lets pass, and that an index of hosts never says anything else than a look at each host."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pileus.core.bits import bits_from, bits_of, every, first
from pileus.core.extra_spec_matches import matches
from pileus.core.placement import choose
from pileus.core.placement_filters import tests_of as filters_of
from pileus.core.placement_hosts import Hosts
from pileus.model.placement import Cell, HostState, HostView, Inventory, NumaWish, PlacementRequest, TraitWish


def host(name: str, used: int = 0, **state: object) -> HostView:
    stocks = (
        ("CUSTOM_PAGES_2048KIB", Inventory(total=512, max_unit=512), 0),
        ("MEMORY_MB", Inventory(total=4096, max_unit=4096, reserved=96), used),
        ("VCPU", Inventory(total=4, max_unit=4, allocation_ratio=4.0), used // 256),
    )
    return HostView(id=f"id-{name}", name=name, generation=3, state=HostState(**{"zone": "nova", "stocks": stocks, **state}))


def ask(**what: object) -> PlacementRequest:
    return PlacementRequest(**{"resources": {"VCPU": 1, "MEMORY_MB": 512}, **what})


def numa(*cells: tuple[int, int]) -> NumaWish:
    return NumaWish(cells=tuple(Cell(cpus=cpus, memory_mib=memory) for cpus, memory in cells))


def cells(*sizes: tuple[int, int]) -> tuple[Cell, ...]:
    return numa(*sizes).cells


def test_a_server_that_moves_stays_in_its_cluster() -> None:
    hosts = [host("h1", cluster="east"), host("h2", cluster="west", used=1024)]
    decision = choose(ask(cluster="west"), hosts)
    assert (decision.host, decision.cluster) == ("h2", "west")
    assert decision.removals[0].reasons[0].text == "in cluster east, not west"


def test_each_numa_node_of_the_guest_has_one_of_the_hosts_to_itself() -> None:
    two, one, uneven = (
        host("two", cells=cells((4, 2048), (4, 2048))),
        host("one", cells=cells((8, 4096))),
        host("u", cells=cells((2, 999), (8, 4096))),
    )
    assert choose(ask(numa=numa((2, 1024), (2, 1024))), [two, one, uneven]).host == "two"
    assert choose(ask(numa=numa((2, 999), (2, 4096))), [two, one, uneven]).host == "u"
    assert choose(ask(numa=numa((2, 4096), (2, 999))), [two, one, uneven]).host == "u"
    refused = choose(ask(numa=numa((1, 1))), [host("silent")])
    assert refused.nearest == "Nearest: silent, reports no NUMA nodes."


def test_of_several_sizes_of_huge_pages_the_first_that_some_host_has_is_taken() -> None:
    request = ask(one_of=[{"CUSTOM_PAGES_1048576KIB": 1}, {"CUSTOM_PAGES_2048KIB": 256}])
    assert choose(request, [host("h1")]).resources == {"VCPU": 1, "MEMORY_MB": 512, "CUSTOM_PAGES_2048KIB": 256}
    failed = choose(ask(one_of=[{"CUSTOM_PAGES_1048576KIB": 1}]), [host("h1")])
    assert failed.nearest == "Nearest: h1 has no CUSTOM_PAGES_1048576KIB."


def test_an_aggregate_keeps_images_with_other_properties_away() -> None:
    hosts = [host("windows", metadata=frozenset({("os_distro", "windows, freebsd")})), host("any", used=2048)]
    assert choose(ask(properties={"os_distro": "debian"}), hosts).host == "any"
    assert choose(ask(properties={"os_distro": "windows"}), hosts).host == "windows"
    assert choose(ask(), hosts).host == "windows"
    assert choose(ask(properties={"os_distro": "debian"}), hosts[:1]).nearest == (
        "Nearest: windows, in an aggregate for images with os_distro=freebsd or windows, not debian."
    )


def test_the_operators_of_extra_specs_are_novas() -> None:
    yes = [
        ("ssd", "ssd"),
        ("8", ">= 4"),
        ("8", "= 4"),
        ("4", "== 4.0"),
        ("a", "s== a"),
        ("b", "s> a"),
        ("x86,arm", "<in> arm"),
        ("b", "<or> a <or> b"),
    ]
    no = [
        ("hdd", "ssd"),
        ("2", ">= 4"),
        ("4", "!= 4"),
        ("a", "s!= a"),
        ("c", "<or> a <or> b"),
        ("many", ">= 4"),
        ("x86", "<all-in> x86 <all-in> arm"),
    ]
    assert [pair for pair in yes if not matches(*pair)] == []
    assert [pair for pair in no if matches(*pair)] == []
    hosts = [host("h1", metadata=frozenset({("tier", "2")})), host("h2", used=2048, metadata=frozenset({("tier", "3")}))]
    assert choose(ask(metadata={"tier": ">= 3"}), hosts).host == "h2"


def test_of_many_hosts_that_are_refused_five_are_named() -> None:
    decision = choose(ask(), [host(f"h{number:03}", enabled=False) for number in range(300)] + [host("z")])
    reason = decision.removals[0].reasons[0]
    assert (reason.text, reason.count, reason.hosts) == ("disabled", 300, ["h000", "h001", "h002", "h003", "h004"])


def test_a_failure_names_the_three_nearest() -> None:
    decision = choose(ask(resources={"MEMORY_MB": 4000}), [host(f"h{number}", used=256 * number) for number in range(1, 5)])
    assert decision.nearest == "Nearest: h1 needs 256 MiB of memory more."
    assert decision.nearby == ["h2 needs 512 MiB of memory more.", "h3 needs 768 MiB of memory more."]


def test_the_decision_of_10000_hosts_is_small() -> None:
    hosts = Hosts(host(f"h{number:05}", used=number % 4000, enabled=number % 3 > 0, zone=f"z{number % 7}") for number in range(10_000))
    for request in (ask(zone="z1"), ask(resources={"MEMORY_MB": 4000, "VCPU": 5})):
        assert len(msgspec.json.encode(choose(request, hosts))) < 3000


# The index.

states = st.builds(
    host,
    name=st.sampled_from([f"h{number}" for number in range(10)]),
    used=st.sampled_from([0, 256, 1024, 3584, 4096]),
    enabled=st.booleans(),
    up=st.sampled_from([True, True, False]),
    cluster=st.sampled_from(["east", "west"]),
    zone=st.sampled_from(["nova", "other"]),
    traits=st.sampled_from([frozenset(), frozenset({"CUSTOM_A"})]),
    metadata=st.sampled_from([frozenset(), frozenset({("tier", "2")})]),
    cells=st.sampled_from([(), cells((2, 1024)), cells((2, 1024), (2, 2048))]),
)
requests = st.builds(
    ask,
    resources=st.fixed_dictionaries({"VCPU": st.integers(1, 5), "MEMORY_MB": st.sampled_from([256, 512, 4000, 4001])}),
    one_of=st.sampled_from([[], [{"CUSTOM_PAGES_2048KIB": 512}], [{"CUSTOM_NONE": 1}, {"CUSTOM_PAGES_2048KIB": 1}]]),
    cluster=st.sampled_from([None, "east"]),
    zone=st.sampled_from([None, "nova"]),
    host=st.sampled_from([None, None, "h1"]),
    traits=st.sampled_from([[], [TraitWish(trait="CUSTOM_A", source="test", forbidden=True)]]),
    metadata=st.sampled_from([{}, {"tier": ">= 2"}]),
    properties=st.sampled_from([{}, {"tier": "1"}]),
    numa=st.sampled_from([None, numa((1, 1024)), numa((1, 1025), (1, 512))]),
    group_policy=st.sampled_from([None, "affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"]),
    group_hosts=st.sampled_from([{}, {"h3": 1}, {"h3": 2, "h4": 1}]),
    different_host=st.sampled_from([frozenset(), frozenset({"h0", "h2"})]),
    seed=st.integers(0, 50),
)


def fits(request: PlacementRequest, view: HostView) -> bool:
    """By a look at the host alone, without the index."""
    names = request.group_hosts
    by_name = request.host in (None, view.name) and view.name not in request.different_host
    if request.group_policy == "affinity" and names:
        by_name = by_name and view.name in names
    if request.group_policy == "anti-affinity":
        by_name = by_name and names.get(view.name, 0) < request.max_per_host
    return by_name and not any(test.refusal(view.state) for test in filters_of(request))


@given(st.lists(st.one_of(states, st.sampled_from(["h1", "h3", "h9"])), max_size=40), st.lists(requests, min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_whatever_came_before_the_index_answers_as_a_look_at_each_host(
    changes: list[HostView | str], asked: list[PlacementRequest]
) -> None:
    hosts, now = Hosts(), dict[str, HostView]()
    for number, change in enumerate(changes):
        if isinstance(change, str):
            hosts.drop(change)
            now.pop(change, None)
        else:
            hosts.put(change)
            now[change.name] = change
        if number % 3 == 0:
            choose(asked[number % len(asked)], hosts)
    for request in asked:
        decision = choose(request, hosts)
        assert decision == choose(request, list(now.values()))
        plain = msgspec.structs.replace(request, one_of=[], resources=decision.resources)
        fitting = {name for name, view in now.items() if fits(plain, view)}
        assert decision.fitting == len(fitting) and (decision.host in fitting or not fitting)
        assert {one.host for one in decision.scores} <= fitting
        if decision.host is not None:
            assert now[decision.host].state.cluster == decision.cluster


@given(st.lists(states, max_size=10, unique_by=lambda view: view.name), states, requests)
@settings(max_examples=300, deadline=None)
def test_another_host_never_turns_success_into_failure(hosts: list[HostView], more: HostView, request: PlacementRequest) -> None:
    others = [view for view in hosts if view.name != more.name]
    if choose(request, others).host is not None:
        assert choose(request, [*others, more]).host is not None


@given(st.sets(st.integers(0, 300)), st.integers(0, 10))
def test_sets_of_bits(numbers: set[int], most: int) -> None:
    bits = bits_of(numbers)
    assert every(bits) == sorted(numbers) and list(first(bits, most)) == sorted(numbers)[:most]
    assert bits_from(number in numbers for number in range(301)) == bits


@given(st.lists(st.integers(0, 3900), min_size=501, max_size=700), st.sampled_from([3950, 4000, 4096]))
@settings(max_examples=20, deadline=None)
def test_of_many_hosts_that_are_full_the_freest_is_the_nearest(used: list[int], wanted: int) -> None:
    hosts = [host(f"h{number:03}", used=amount + 60) for number, amount in enumerate(used)]
    decision = choose(ask(resources={"MEMORY_MB": wanted}), hosts)
    least = min(used) + 60 - (4000 - wanted)
    assert decision.nearest.endswith(f"needs {least} MiB of memory more.")
