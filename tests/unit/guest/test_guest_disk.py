"""The disk's boot record and boot loader."""

import struct

from pileus.guest import disk


def test_the_boot_record_names_both_partitions_and_boots_the_first() -> None:
    record = disk.boot_record(b"\xeb\xfe", 0x12345678, [(0x0C, 2048, 36864), (0x83, 38912, 200000)])
    assert len(record) == 512
    assert record[510:] == b"\x55\xaa"
    assert struct.unpack_from("<I", record, 440) == (0x12345678,)
    first, second = record[446:462], record[462:478]
    assert (first[0], first[4], *struct.unpack_from("<II", first, 8)) == (0x80, 0x0C, 2048, 36864)
    assert (second[0], second[4], *struct.unpack_from("<II", second, 8)) == (0, 0x83, 38912, 200000)


def test_the_size_that_the_guest_rewrites_stands_where_its_script_looks() -> None:
    record = disk.boot_record(b"", 0, [(0x0C, 2048, 1), (0x83, 4096, 0xAABBCCDD)])
    assert record[474:478] == bytes.fromhex("ddccbbaa")


def test_the_boot_loader_waits_for_nobody() -> None:
    text = disk.syslinux_configuration("console=ttyS0")
    assert "PROMPT 0" in text
    assert "TIMEOUT 0" in text
    assert "APPEND console=ttyS0" in text


def test_the_kernel_speaks_on_screen_and_serial_line() -> None:
    assert disk.COMMAND_LINE.index("console=tty0") < disk.COMMAND_LINE.index("console=ttyS0")
    assert "panic=1" in disk.COMMAND_LINE
