"""Which kernel modules go into the guest, and how its modprobe finds them."""

import struct
from pathlib import Path

import pytest

from pileus.guest import elf, modules


def module_file(info: str) -> bytes:
    """The smallest ELF file that carries a module's description."""
    body = info.encode().replace(b";", b"\0") + b"\0"
    names = b"\0.modinfo\0.shstrtab\0"
    table = 64 + len(body) + len(names)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2)
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, 64, len(body), 0, 0, 1, 0)
    sections += struct.pack("<IIQQQQIIQQ", 10, 3, 0, 0, 64 + len(body), len(names), 0, 0, 1, 0)
    return header + body + names + sections


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    files = {
        "kernel/drivers/virtio/virtio.ko": "name=virtio;depends=virtio_ring",
        "kernel/drivers/virtio/virtio_ring.ko": "name=virtio_ring;depends=",
        "kernel/drivers/virtio/virtio_pci.ko": "name=virtio_pci;depends=virtio,virtio_ring;alias=pci:v00001AF4d*",
        "kernel/drivers/char/hw_random/virtio-rng.ko": "name=virtio_rng;depends=virtio;alias=virtio:d00000004v*",
        "kernel/fs/minix/minix.ko": "name=minix;depends=",
    }
    for path, info in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(module_file(info))
    return tmp_path


def test_a_module_brings_what_it_needs_and_nothing_else(kernel: Path) -> None:
    assert [module.name for module in modules.select(kernel, "virtio_pci not_there")] == ["virtio", "virtio_pci", "virtio_ring"]


def test_hyphen_and_underscore_are_one_in_names_and_patterns_match(kernel: Path) -> None:
    assert {module.name for module in modules.select(kernel, "virtio_r*")} == {"virtio", "virtio-rng", "virtio_ring"}


def test_the_index_says_what_is_loaded_first(kernel: Path) -> None:
    lines = modules.dependency_index(modules.select(kernel, "virtio_pci")).splitlines()
    assert "kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko" in lines
    assert "kernel/drivers/virtio/virtio_ring.ko:" in lines


def test_the_index_says_which_module_serves_a_device(kernel: Path) -> None:
    text = modules.alias_index(modules.select(kernel, "virtio_pci virtio-rng"))
    assert text.splitlines() == ["alias pci:v00001AF4d* virtio_pci", "alias virtio:d00000004v* virtio_rng"]


def test_a_compressed_module_goes_in_unpacked(kernel: Path) -> None:
    import lzma

    plain = kernel / "kernel/fs/minix/minix.ko"
    (kernel / "kernel/fs/minix/minix.ko.xz").write_bytes(lzma.compress(plain.read_bytes()))
    data = plain.read_bytes()
    plain.unlink()
    (found,) = modules.select(kernel, "minix")
    assert found.data == data
    assert found.path == "kernel/fs/minix/minix.ko"


def test_what_is_no_elf_file_is_refused() -> None:
    with pytest.raises(elf.NotElf):
        elf.needed(b"#!/bin/sh\n")


def test_libraries_that_a_program_of_this_host_needs() -> None:
    assert any(name.startswith("libc.so") for name in elf.needed(Path("/bin/sh").resolve().read_bytes()))
