"""A filter of system calls (seccomp) for a process that starts no programs: what it never needs is refused, whoever it is by then."""

import ctypes
import platform
import struct

from pileus.cli.separation.kernel import libc

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST, SECOND = 0, 4, 16, 24
"""Where a system call's number, its architecture and the low half of its first two arguments stand."""
X32 = 0x40000000
CLONE_THREAD = 0x10000
FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, and AF_NETLINK, which the C library asks for the addresses of this machine."""
TERMINAL = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: to type for whoever uses the terminal."""

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SPECIAL = {
    "x86_64": {"clone": 56, "clone3": 435, "socket": 41, "ioctl": 16},
    "aarch64": {"clone": 220, "clone3": 435, "socket": 198, "ioctl": 29},
}
REFUSED = {  # name: number on x86_64, on aarch64
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51), "pivot_root": (155, 41),
    "mount": (165, 40), "umount2": (166, 39), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "swapon": (167, 224), "swapoff": (168, 225), "quotactl": (179, 60), "quotactl_fd": (443, 443), "acct": (163, 89),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "mknod": (133, None),
    "mknodat": (259, 33), "lookup_dcookie": (212, 18), "nfsservctl": (180, 42),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "memfd_secret": (447, 447),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "mbind": (237, 235), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "create_module": (174, None),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "syslog": (103, 116), "vhangup": (153, 58),
    "sethostname": (170, 161), "setdomainname": (171, 162), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "personality": (135, 92),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "uselib": (134, None), "_sysctl": (156, None),
}  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def known(machine: str | None = None) -> bool:
    """Whether there is a filter for this kind of processor."""
    return (machine or platform.machine()) in AUDIT


def program(machine: str) -> bytes:
    """The filter's instructions (struct sock_filter each), for a kind of processor."""
    special, column = SPECIAL[machine], list(AUDIT).index(machine)
    code = [(LOAD, 0, 0, ARCHITECTURE), (JUMP_EQUAL, 1, 0, AUDIT[machine]), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    if machine == "x86_64":
        code += [(JUMP_AT_LEAST, 0, 1, X32), (RETURN, 0, 0, ERRNO | EPERM)]
    for numbers in REFUSED.values():
        if numbers[column] is not None:
            code += [(JUMP_EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, ERRNO | EPERM)]
    code += [(JUMP_EQUAL, 0, 1, special["clone3"]), (RETURN, 0, 0, ERRNO | ENOSYS)]  # whose arguments can't be seen; clone does it, too
    code += [(JUMP_EQUAL, 0, 4, special["clone"]), (LOAD, 0, 0, FIRST), (JUMP_BITS, 1, 0, CLONE_THREAD), (RETURN, 0, 0, ERRNO | EPERM)]
    code += [(RETURN, 0, 0, ALLOW)]
    families = [(JUMP_EQUAL, len(FAMILIES) - place, 0, family) for place, family in enumerate(FAMILIES)]
    code += [(JUMP_EQUAL, 0, len(families) + 3, special["socket"]), (LOAD, 0, 0, FIRST), *families]
    code += [(RETURN, 0, 0, ERRNO | EAFNOSUPPORT), (RETURN, 0, 0, ALLOW)]
    typing = [(JUMP_EQUAL, len(TERMINAL) - place, 0, command) for place, command in enumerate(TERMINAL)]
    code += [(JUMP_EQUAL, 0, len(typing) + 1, special["ioctl"]), (LOAD, 0, 0, SECOND), *typing]
    code += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERRNO | EPERM)]
    return b"".join(struct.pack("=HBBI", *one) for one in code)


def install() -> None:
    """Filter this process from now on, for ever. OSError where the kernel does not."""
    code = program(platform.machine())
    held = ctypes.create_string_buffer(code, len(code))
    wanted = _Program(len(code) // 8, ctypes.cast(held, ctypes.c_void_p))
    libc.prctl(22, 2, ctypes.byref(wanted), 0, 0)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
