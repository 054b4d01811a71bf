"""Which process is a guest's QEMU, when nobody has noted it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pileus.node.hypervisor.qemu_process import PID, find_pid


@pytest.fixture
def places(tmp_path: Path) -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """The same guest on two hosts of one machine, as while it moves."""
    found = {}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        found[name] = subprocess.Popen(["sh", "-c", "read line", "guest=one,debug-threads=on"], cwd=tmp_path / name, stdin=subprocess.PIPE)
    yield found
    for process in found.values():
        process.kill()
        process.communicate()


def test_it_is_found_by_its_directory_as_another_host_of_the_machine_may_have_the_guest_too(
    tmp_path: Path, places: dict[str, "subprocess.Popen[bytes]"]
) -> None:
    for name, process in places.items():
        assert find_pid(tmp_path / name, "one") == process.pid
        assert find_pid(tmp_path / name, "another") is None
    (tmp_path / "c").mkdir()
    assert find_pid(tmp_path / "c", "one") is None


def test_a_note_about_a_process_that_is_not_its_own_is_not_believed(tmp_path: Path, places: dict[str, "subprocess.Popen[bytes]"]) -> None:
    (tmp_path / "a" / PID).write_text(str(places["b"].pid))
    assert find_pid(tmp_path / "a", "one") == places["a"].pid
