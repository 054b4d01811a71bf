"""What a machine says of its NUMA nodes."""

from pathlib import Path

from pileus.model.hosts import NumaNode
from pileus.node.machine import NODES, numa_nodes


def node(at: Path, number: int, cpus: str, kib: int, pages: dict[int, int]) -> None:
    place = at / f"node{number}"
    place.mkdir(parents=True)
    (place / "cpulist").write_text(f"{cpus}\n")
    (place / "meminfo").write_text(f"\nNode {number} MemTotal:       {kib} kB\nNode {number} MemFree:        1 kB\n")
    for size, count in pages.items():
        (place / "hugepages" / f"hugepages-{size}kB").mkdir(parents=True)
        (place / "hugepages" / f"hugepages-{size}kB" / "nr_hugepages").write_text(f"{count}\n")


def test_each_node_has_its_cpus_memory_and_huge_pages(tmp_path: Path) -> None:
    node(tmp_path, 0, "0-3,8-11", 8388608, {2048: 512, 1048576: 0})
    node(tmp_path, 10, "4-7", 4194304, {})
    node(tmp_path, 2, "", 1048576, {})
    assert numa_nodes(tmp_path, set(range(9))) == [
        NumaNode(cpus=5, memory_mib=8192, pages={2048: 512}),
        NumaNode(cpus=0, memory_mib=1024),
        NumaNode(cpus=4, memory_mib=4096),
    ]


def test_a_machine_that_does_not_say_has_none(tmp_path: Path) -> None:
    assert numa_nodes(tmp_path / "missing", {0}) == []
    (tmp_path / "node0").mkdir()
    assert numa_nodes(tmp_path, {0}) == []


def test_this_machine_can_be_asked() -> None:
    assert all(one.cpus >= 0 and one.memory_mib >= 0 for one in numa_nodes(NODES, {0}))
