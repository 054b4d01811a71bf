"""The filter of system calls, run as the kernel would run it: what is refused, and that nothing else is."""

import struct

import pytest

from pileus.cli.separation import syscall_filter
from pileus.cli.separation.syscall_filter import ALLOW, AUDIT, EAFNOSUPPORT, ENOSYS, EPERM, ERRNO, KILL, REFUSED, SPECIAL, known, program


def verdict(machine: str, number: int, first: int = 0, second: int = 0, architecture: int | None = None) -> int:
    """What the filter says of a system call."""
    call = struct.pack("=IIQQQ", number, AUDIT[machine] if architecture is None else architecture, 0, first, second)
    code = list(struct.iter_unpack("=HBBI", program(machine)))
    place = value = 0
    while True:
        operation, then, otherwise, constant = code[place]
        place += 1
        if operation == syscall_filter.LOAD:
            value = struct.unpack_from("=I", call, constant)[0]
        elif operation == syscall_filter.RETURN:
            return int(constant)
        else:
            tests = {
                syscall_filter.JUMP_EQUAL: value == constant,
                syscall_filter.JUMP_AT_LEAST: value >= constant,
                syscall_filter.JUMP_BITS: bool(value & constant),
            }
            place += then if tests[operation] else otherwise


@pytest.mark.parametrize("machine", list(AUDIT))
def test_each_call_of_the_list_is_refused_and_all_others_are_not(machine: str) -> None:
    column = list(AUDIT).index(machine)
    refused = {numbers[column] for numbers in REFUSED.values() if numbers[column] is not None}
    special = set(SPECIAL[machine].values())
    for number in range(500):
        if number not in special:
            assert verdict(machine, number) == (ERRNO | EPERM if number in refused else ALLOW), number


@pytest.mark.parametrize("machine", list(AUDIT))
def test_threads_begin_and_processes_do_not(machine: str) -> None:
    clone, clone3 = SPECIAL[machine]["clone"], SPECIAL[machine]["clone3"]
    assert verdict(machine, clone, 0x3D0F00) == ALLOW  # as a thread of the C library
    assert verdict(machine, clone, 0x1200011) == ERRNO | EPERM  # as fork
    assert verdict(machine, clone3) == ERRNO | ENOSYS


@pytest.mark.parametrize("machine", list(AUDIT))
def test_sockets_are_of_the_families_that_are_needed(machine: str) -> None:
    socket = SPECIAL[machine]["socket"]
    assert {family for family in range(50) if verdict(machine, socket, family) == ALLOW} == {1, 2, 10, 16}
    assert verdict(machine, socket, 17) == ERRNO | EAFNOSUPPORT


@pytest.mark.parametrize("machine", list(AUDIT))
def test_nobody_types_for_who_uses_the_terminal(machine: str) -> None:
    ioctl = SPECIAL[machine]["ioctl"]
    assert verdict(machine, ioctl, 0, 0x5412) == verdict(machine, ioctl, 0, 0x541C) == ERRNO | EPERM
    assert verdict(machine, ioctl, 0, 0x5413) == ALLOW


def test_calls_of_another_architecture_end_the_process() -> None:
    assert verdict("x86_64", 59, architecture=0x40000003) == KILL
    assert verdict("x86_64", 0x40000000 + 59) == ERRNO | EPERM
    assert known("x86_64") and not known("s390x")
