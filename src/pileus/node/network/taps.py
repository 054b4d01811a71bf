"""Taps: persistent devices of which QEMU gets a descriptor, opened in the namespace of the calling thread."""

import fcntl
import os
import struct

from pileus.model.errors import NodeFailed

TUNSETIFF, TUNSETPERSIST = 0x400454CA, 0x400454CB
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000


def open_descriptor(name: str) -> int:
    """An open descriptor of the tap in this thread's namespace, made if it is missing; with the virtio header that QEMU expects."""
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as failure:
        raise NodeFailed(f"Can't open /dev/net/tun: {failure.strerror}. Load it with: modprobe tun") from failure
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    except OSError as failure:
        os.close(descriptor)
        raise NodeFailed(f"Can't open the tap {name}: {failure.strerror}.") from failure
    return descriptor


def create(name: str) -> None:
    """Make the tap, to stay until it is deleted."""
    descriptor = open_descriptor(name)
    try:
        fcntl.ioctl(descriptor, TUNSETPERSIST, 1)
    finally:
        os.close(descriptor)
