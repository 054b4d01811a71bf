"""The choice between KVM and TCG: by trying, with a reason, once in a boot of the host."""

import asyncio
import shutil
from pathlib import Path

import pytest

from pileus.node.hypervisor import accelerators
from pileus.node.hypervisor.accelerators import Accelerator, ProbeImage, find_accelerator

IMAGE = ProbeImage(kernel="/nowhere/vmlinuz", initrd="/nowhere/initrd")


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[ProbeImage | None]:
    """Counts the tries; without an image none can be sure."""
    images: list[ProbeImage | None] = []

    async def attempt(image: ProbeImage | None) -> Accelerator:
        images.append(image)
        return Accelerator(name="tcg", reason="tried", final=image is not None)

    monkeypatch.setattr(accelerators, "_try", attempt)
    return images


def find(state: Path, image: ProbeImage | None = IMAGE, refresh: bool = False) -> Accelerator:
    return asyncio.run(find_accelerator(state, lambda: image, refresh))


def test_it_is_tried_once_until_someone_asks_again(tmp_path: Path, tried: list[ProbeImage | None]) -> None:
    assert find(tmp_path) == find(tmp_path)
    assert len(tried) == 1
    find(tmp_path, refresh=True)
    assert len(tried) == 2


def test_it_is_tried_again_after_the_host_has_booted(tmp_path: Path, tried: list[ProbeImage | None]) -> None:
    find(tmp_path)
    kept = tmp_path / "accelerator.json"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    kept.write_text(kept.read_text().replace(boot, "an earlier boot"))
    find(tmp_path)
    assert len(tried) == 2


def test_it_is_tried_again_when_there_is_an_image_at_last(tmp_path: Path, tried: list[ProbeImage | None]) -> None:
    find(tmp_path, None)
    find(tmp_path, None)
    assert tried == [None]
    find(tmp_path, IMAGE)
    find(tmp_path, IMAGE)
    assert tried == [None, IMAGE]


def test_a_damaged_note_is_no_answer(tmp_path: Path, tried: list[ProbeImage | None]) -> None:
    (tmp_path / "accelerator.json").write_text("{")
    assert find(tmp_path).reason == "tried"


def test_without_a_device_the_reason_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "KVM", tmp_path / "kvm")
    found = find(tmp_path)
    assert (found.name, found.final) == ("tcg", True)
    assert "there is no" in found.reason


@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86_64 is missing")
def test_without_an_image_nine_bytes_run_where_code_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    emulated = [{"kvm": "tcg", "host": "max"}.get(part, part) for part in accelerators._QEMU]
    monkeypatch.setattr(accelerators, "_QEMU", emulated)
    status, said = asyncio.run(accelerators._boot_sector())
    assert (status, said) == (accelerators._SECTOR_STATUS, "")


def test_what_takes_too_long_is_ended_and_has_no_status() -> None:
    status, out, _ = asyncio.run(accelerators._run(["sh", "-c", "echo started; exec sleep 60"], 0.5, None))
    assert (status, out) == (None, "started\n")


def test_what_was_waited_for_ends_the_try() -> None:
    _, out, _ = asyncio.run(accelerators._run(["sh", "-c", "echo pileus-probe-ok; exec sleep 60"], 30.0, accelerators.PASSED))
    assert accelerators.PASSED in out


def test_a_missing_program_is_a_failure_with_its_name() -> None:
    status, _, error = asyncio.run(accelerators._run(["/no/such/program"], 5.0, None))
    assert status not in (0, None)
    assert "/no/such/program" in error
