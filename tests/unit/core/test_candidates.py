"""Allocation candidates: which providers, trees and sharing providers can give what is asked."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pileus.core.candidates import _combined, candidates
from pileus.core.provider_forest import Forest
from pileus.core.traits import SHARES_VIA_AGGREGATE
from pileus.model.candidates import CandidateRequest, Candidates, Group
from pileus.model.placement import Inventory, Provider


def provider(name: str, parent: str | None = None, root: str | None = None, **more: object) -> Provider:
    stock = {key: Inventory(total=value) for key, value in more.pop("stock", {}).items()}
    return Provider(id=name, name=name, parent_id=parent, root_id=root or name, inventories=stock, **more)


def ask(forest: Forest, *groups: Group, **rest: object) -> Candidates:
    return candidates(CandidateRequest(groups=list(groups), **rest), forest)


def used(found: Candidates) -> list[list[str]]:
    return sorted(sorted(one.allocations) for one in found.requests)


def hosts() -> Forest:
    """Two hosts with a shared disk, one of them with two network cards below it."""
    return Forest(
        [
            provider("h1", stock={"VCPU": 4}, aggregates=["rack"], traits=["HW_CPU_X86_AVX"]),
            provider("h2", stock={"VCPU": 8, "DISK_GB": 100}, aggregates=["rack"]),
            provider("nic1", "h1", "h1", stock={"SRIOV_NET_VF": 2}, traits=["CUSTOM_RED"]),
            provider("nic2", "h1", "h1", stock={"SRIOV_NET_VF": 2}, traits=["CUSTOM_BLUE"]),
            provider("disks", stock={"DISK_GB": 1000}, aggregates=["rack"], traits=[SHARES_VIA_AGGREGATE]),
            provider("elsewhere", stock={"DISK_GB": 1000}, aggregates=["attic"], traits=[SHARES_VIA_AGGREGATE]),
        ]
    )


def test_each_provider_with_room_is_a_candidate() -> None:
    assert used(ask(hosts(), Group(resources={"VCPU": 5}))) == [["h2"]]
    assert used(ask(hosts(), Group(resources={"VCPU": 1}))) == [["h1"], ["h2"]]


def test_what_is_used_reserved_or_out_of_step_is_no_room() -> None:
    odd = Inventory(total=10, reserved=2, min_unit=2, max_unit=6, step_size=2)
    forest = Forest([Provider(id="a", name="a", root_id="a", inventories={"VCPU": odd}, used={"VCPU": 4})])
    assert [amount for amount in range(1, 9) if ask(forest, Group(resources={"VCPU": amount})).requests] == [2, 4]


def test_a_sharing_provider_gives_to_the_trees_of_its_aggregates_alone() -> None:
    found = ask(hosts(), Group(resources={"VCPU": 1, "DISK_GB": 10}))
    assert used(found) == [["disks", "h1"], ["disks", "h2"], ["h2"]]
    assert {"h1", "nic1", "nic2", "disks", "h2"} == set(found.providers)


def test_in_tree_leaves_what_is_shared_out() -> None:
    assert used(ask(hosts(), Group(resources={"VCPU": 1, "DISK_GB": 10}, in_tree="h2"))) == [["h2"]]
    assert used(ask(hosts(), Group(resources={"VCPU": 1}, in_tree="nothing"))) == []


def test_groups_are_satisfied_by_one_provider_each_and_isolated_when_asked() -> None:
    compute = Group(resources={"VCPU": 1})
    cards = [Group(suffix=name, resources={"SRIOV_NET_VF": 1}) for name in ("_A", "_B")]
    assert len(ask(hosts(), compute, *cards).requests) == 4
    isolated = ask(hosts(), compute, *cards, isolate=True)
    assert [one.mappings for one in isolated.requests] == [
        {"": ["h1"], "_A": ["nic1"], "_B": ["nic2"]},
        {"": ["h1"], "_A": ["nic2"], "_B": ["nic1"]},
    ]
    big = [Group(suffix=name, resources={"SRIOV_NET_VF": 2}) for name in ("_A", "_B")]
    assert used(ask(hosts(), compute, *big)) == [["h1", "nic1", "nic2"], ["h1", "nic1", "nic2"]]


def test_traits_and_aggregates_are_of_the_group_the_tree_or_the_root() -> None:
    def red(name: str) -> Group:
        return Group(suffix="_N", resources={"SRIOV_NET_VF": 1}, required=(frozenset({name, "CUSTOM_GREEN"}),))

    assert used(ask(hosts(), red("CUSTOM_RED"))) == [["nic1"]]
    assert used(ask(hosts(), Group(resources={"VCPU": 1, "SRIOV_NET_VF": 1}, required=(frozenset({"CUSTOM_RED"}),)))) == [["h1", "nic1"]]
    assert used(ask(hosts(), Group(resources={"VCPU": 1}, forbidden=frozenset({"HW_CPU_X86_AVX"})))) == [["h2"]]
    assert used(ask(hosts(), Group(resources={"SRIOV_NET_VF": 1}, member_of=(frozenset({"rack"}),)))) == [["nic1"], ["nic2"]]
    assert used(ask(hosts(), Group(suffix="_N", resources={"SRIOV_NET_VF": 1}, member_of=(frozenset({"rack"}),)))) == []
    assert used(ask(hosts(), Group(resources={"VCPU": 1}), root_required=frozenset({"HW_CPU_X86_AVX"}))) == [["h1"]]


def test_a_subtree_has_one_of_the_groups_at_its_top() -> None:
    forest = Forest(
        [
            provider("h"),
            provider("n0", "h", "h", stock={"VCPU": 2}, traits=["HW_NUMA_ROOT"]),
            provider("n1", "h", "h", stock={"VCPU": 2}, traits=["HW_NUMA_ROOT"]),
            provider("g0", "n0", "h", stock={"VGPU": 1}),
        ]
    )
    numa, card = Group(suffix="_C", resources={"VCPU": 1}), Group(suffix="_G", resources={"VGPU": 1})
    assert used(ask(forest, numa, card)) == [["g0", "n0"], ["g0", "n1"]]
    assert used(ask(forest, numa, card, same_subtrees=[frozenset({"_C", "_G"})])) == [["g0", "n0"]]


def test_before_trees_were_known_no_two_providers_of_one_take_part() -> None:
    both = Group(resources={"VCPU": 1, "SRIOV_NET_VF": 1})
    assert used(ask(hosts(), both)) == [["h1", "nic1"], ["h1", "nic2"]]
    assert used(ask(hosts(), both, nested=False)) == []
    assert ask(hosts(), Group(resources={"SRIOV_NET_VF": 1}), nested=False).providers == ["nic1", "nic2"]


def test_a_limit_is_kept_and_leaves_the_other_trees_out() -> None:
    found = ask(hosts(), Group(resources={"VCPU": 1}), limit=1)
    assert len(found.requests) == 1 and found.providers == ["h1", "nic1", "nic2"]


def test_the_forest_follows_its_providers() -> None:
    forest = hosts()
    forest.put(provider("disks", stock={"DISK_GB": 1000}, aggregates=["attic"]))
    assert forest.sharing == {"elsewhere"} and forest.members == {"rack": {"h1", "h2"}, "attic": {"disks", "elsewhere"}}
    forest.put(provider("nic1", "h2", "h2"))
    forest.drop("nic2")
    forest.drop("nic2")
    assert forest.trees["h1"] == {"h1"} and forest.trees["h2"] == {"h2", "nic1"} and "nic2" not in forest.traits


flat = st.lists(
    st.builds(
        lambda name, stock, used, traits, aggregates: provider(name, stock=stock, used=used, traits=traits, aggregates=aggregates),
        name=st.sampled_from([f"p{number}" for number in range(8)]),
        stock=st.dictionaries(st.sampled_from(["VCPU", "DISK_GB"]), st.integers(1, 4)),
        used=st.dictionaries(st.sampled_from(["VCPU", "DISK_GB"]), st.integers(0, 4)),
        traits=st.sampled_from([[], ["CUSTOM_A"], ["CUSTOM_A", "CUSTOM_B"]]),
        aggregates=st.sampled_from([[], ["x"], ["x", "y"]]),
    ),
    unique_by=lambda one: one.id,
)
groups = st.builds(
    Group,
    resources=st.dictionaries(st.sampled_from(["VCPU", "DISK_GB"]), st.integers(1, 3), min_size=1),
    required=st.sampled_from([(), (frozenset({"CUSTOM_A"}),), (frozenset({"CUSTOM_A", "CUSTOM_B"}),)]),
    forbidden=st.sampled_from([frozenset(), frozenset({"CUSTOM_B"})]),
    member_of=st.sampled_from([(), (frozenset({"x"}),), (frozenset({"x", "y"}), frozenset({"y"}))]),
    not_member_of=st.sampled_from([frozenset(), frozenset({"y"})]),
)


@given(flat, groups)
@settings(max_examples=300, deadline=None)
def test_the_short_way_for_hosts_without_trees_answers_as_the_long_one(found: list[Provider], group: Group) -> None:
    forest = Forest(found)
    request = CandidateRequest(groups=[group])
    short = candidates(request, forest)
    assert used(short) == used(Candidates(requests=list(_combined(request, forest)), providers=[]))
    for one in short.requests:
        (key, resources), *others = one.allocations.items()
        assert not others and resources.resources == group.resources
        for name, amount in resources.resources.items():
            assert forest.providers[key].used.get(name, 0) + amount <= forest.providers[key].inventories[name].capacity


@given(flat, flat, st.lists(st.sampled_from([f"p{number}" for number in range(8)])), groups)
@settings(max_examples=200, deadline=None)
def test_what_was_counted_once_follows_every_change(before: list[Provider], after: list[Provider], gone: list[str], group: Group) -> None:
    request = CandidateRequest(groups=[group])
    forest = Forest(before)
    candidates(request, forest)
    for one in after:
        forest.put(one)
    for name in gone:
        forest.drop(name)
    assert candidates(request, forest) == candidates(request, Forest(forest.providers.values()))
