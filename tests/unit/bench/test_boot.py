"""What `bench boot` says of its figures, what it takes over from a running QEMU, and when it does not begin."""

import subprocess
from pathlib import Path

import pytest
from bench import boot, boot_report

MEDIAN = {"POST answered": 0.02, "ACTIVE: QEMU runs": 0.2, "guest ready": 3.0, "ssh": 3.5, "QEMU by hand": 0.1, "ours": 0.1}
TOGETHER = {10: {"ACTIVE": 1.0, "ready": 30.0, "by hand": 0.5, "MiB of a guest": 180.4}}


def test_the_page_has_each_figure_and_the_ratio_to_qemu_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot_report, "PAGE", tmp_path / "boot.md")
    monkeypatch.setattr(boot_report, "machine", lambda: {"CPU": "x"})
    boot_report.write(MEDIAN, 5, TOGETHER, "the command")
    page = (tmp_path / "boot.md").read_text()
    for line in (
        "| command | the command |",
        "| ssh | 3.500 |",
        "as a multiple of QEMU by hand | 2.00 |",
        "| 10 | 1.00 | 0.50 | 2.00 | 30.0 | 3.0 | 180 |",
    ):
        assert line in page
    shown = boot_report.text(MEDIAN, TOGETHER)
    assert "10 at once: ready" in shown and "ratio to by hand          2.00" in shown


def test_of_a_guests_arguments_what_is_its_own_is_left_out(tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["python3", "-c", "import sys; print(flush=True); sys.stdin.read()", "-machine", "q35", "-netdev", "tap,fd=3", "-device",
         "virtio-net-pci,netdev=n", "-device", "virtio-rng-pci", "-vnc", "unix:/x"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stdout.readline()
        found = boot.same_arguments(process.pid)
        assert found[-4:] == ["-machine", "q35", "-device", "virtio-rng-pci"] and "tap,fd=3" not in found
    finally:
        process.kill()
        process.wait()
        assert process.stdin and process.stdout
        process.stdin.close()
        process.stdout.close()


def test_more_guests_than_memory_are_refused_before_anything_starts() -> None:
    boot.refuse_too_many([])
    boot.refuse_too_many([1])
    with pytest.raises(SystemExit, match="at most"):
        boot.refuse_too_many([1_000_000])
