"""What is found on a host: disks by their heads, and whom DHCP gives which address."""

from pathlib import Path

from pileus.core.disk_headers import empty_qcow2
from pileus.model.census import FoundDisk
from pileus.node.census import addresses_of, disks_of

MIB = 1 << 20


def guest(state: Path) -> Path:
    """A guest with a disk over a base image, a plain one, and one whose base is gone."""
    disks = state / "guests" / "g1" / "disks"
    disks.mkdir(parents=True)
    (state / "base").mkdir()
    (state / "base" / "aa").write_bytes(b"x")
    (disks / "root").write_bytes(empty_qcow2(64 * MIB, "../../../base/aa"))
    (disks / "lost").write_bytes(empty_qcow2(8 * MIB, "../../../base/bb"))
    (disks / "swap").write_bytes(bytes(4096))
    return disks.parent


def test_a_disk_says_its_size_and_what_it_lies_over(tmp_path: Path) -> None:
    assert disks_of(guest(tmp_path)) == [
        FoundDisk(guest="g1", name="lost", size=8 * MIB, backing="../../../base/bb", backed=False),
        FoundDisk(guest="g1", name="root", size=64 * MIB, backing="../../../base/aa"),
        FoundDisk(guest="g1", name="swap", size=4096),
    ]


def test_a_base_is_found_from_where_the_disks_really_are(tmp_path: Path) -> None:
    there = guest(tmp_path)
    shared = tmp_path / "elsewhere" / "deep" / "down"
    shared.mkdir(parents=True)
    (there / "disks").rename(shared / "disks")
    (there / "disks").symlink_to(shared / "disks")
    assert {disk.name: disk.backed for disk in disks_of(there)} == {"lost": False, "root": False, "swap": True}
    (shared.parent.parent / "base").symlink_to(tmp_path / "base")
    assert {disk.name: disk.backed for disk in disks_of(there)} == {"lost": False, "root": True, "swap": True}


def test_a_guest_without_disks_has_none(tmp_path: Path) -> None:
    assert disks_of(tmp_path) == []


def test_all_files_of_a_domain_say_whom_dhcp_gives_an_address(tmp_path: Path) -> None:
    for name, lines in {
        "br1": "fa:16:3e:00:00:01,10.0.0.5,web\nfa:16:3e:00:00:02,set:port-2,10.0.0.6,db\n",
        "qr1": "fa:16:3e:00:00:01,[fd00::5],web\n",
    }.items():
        (tmp_path / "dnsmasq" / name).mkdir(parents=True)
        (tmp_path / "dnsmasq" / name / "hosts").write_text(lines)
    (tmp_path / "dnsmasq" / "starting").mkdir()
    assert addresses_of(tmp_path) == {"10.0.0.5": "fa:16:3e:00:00:01", "10.0.0.6": "fa:16:3e:00:00:02", "fd00::5": "fa:16:3e:00:00:01"}
