"""What flavors and images ask of NUMA nodes and huge pages."""

import pytest

from pileus.core.placement_request import check_hints
from pileus.core.placement_topology import numa_wish, page_choices, pages_of
from pileus.model.errors import Invalid
from pileus.model.hosts import NumaNode
from pileus.model.servers import ServerFlavor


def flavor(**specs: str) -> ServerFlavor:
    extra = {key.replace("__", ":").replace("_dot_", "."): value for key, value in specs.items()}
    return ServerFlavor(id="1", name="one", vcpus=4, ram=2048, disk=1, extra_specs=extra)


def test_numa_nodes_are_even_unless_it_is_said_how_large_each_is() -> None:
    assert numa_wish(flavor(), {}) is None
    even = numa_wish(flavor(hw__numa_nodes="2"), {})
    assert even and [(cell.cpus, cell.memory_mib) for cell in even.cells] == [(2, 1024), (2, 1024)]
    by_image = numa_wish(flavor(), {"hw_numa_nodes": 4})
    assert by_image and len(by_image.cells) == 4
    said = {
        "hw__numa_nodes": "2",
        "hw__numa_cpus_dot_0": "0-2",
        "hw__numa_cpus_dot_1": "3",
        "hw__numa_mem_dot_0": "1536",
        "hw__numa_mem_dot_1": "512",
    }
    uneven = numa_wish(flavor(**said), {})
    assert uneven and [(cell.cpus, cell.memory_mib) for cell in uneven.cells] == [(3, 1536), (1, 512)]


@pytest.mark.parametrize("specs", [
    {"hw__numa_nodes": "0"}, {"hw__numa_nodes": "5"}, {"hw__numa_nodes": "two"}, {"hw__numa_nodes": "3"},
    {"hw__numa_nodes": "2", "hw__numa_mem_dot_0": "1024"},
    {"hw__numa_nodes": "1", "hw__numa_mem_dot_0": "1024", "hw__numa_cpus_dot_0": "0-3"},
])  # fmt: skip
def test_numa_nodes_that_can_not_be_are_refused(specs: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        numa_wish(flavor(**specs), {})


def test_huge_pages_are_resources_of_a_class_for_each_size() -> None:
    for ordinary in ({}, {"hw__mem_page_size": "small"}, {"hw__mem_page_size": "any"}, {"hw__mem_page_size": "4"}):
        assert page_choices(flavor(**ordinary), {}) == []
    assert page_choices(flavor(hw__mem_page_size="large"), {}) == [{"CUSTOM_PAGES_1048576KIB": 2}, {"CUSTOM_PAGES_2048KIB": 1024}]
    assert page_choices(flavor(hw__mem_page_size="2MB"), {}) == page_choices(flavor(), {"hw_mem_page_size": "2048"})
    for wrong in ("huge", "3GB", "2XB"):
        with pytest.raises(Invalid):
            page_choices(flavor(hw__mem_page_size=wrong), {})


def test_a_hosts_pages_are_those_of_all_its_nodes() -> None:
    nodes = [NumaNode(cpus=2, memory_mib=4096, pages={2048: 100}), NumaNode(cpus=2, memory_mib=4096, pages={2048: 28, 1048576: 0})]
    assert pages_of(nodes) == {"CUSTOM_PAGES_2048KIB": 128}


def test_a_hint_that_nothing_heeds_is_refused_and_says_what_to_use_instead() -> None:
    check_hints({"group": "g", "same_host": "s", "something": "of one's own"})
    with pytest.raises(Invalid, match="query is not supported: use traits"):
        check_hints({"query": '[">", "$free_ram_mb", 1024]'})
