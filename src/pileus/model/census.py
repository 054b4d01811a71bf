"""What is on a host of a cloud, found by looking at the host itself and not at anybody's records."""

from pileus.model.base import Model


class FoundDisk(Model, frozen=True, kw_only=True):
    """A disk of a guest: its size as the guest sees it, and the file that it lies over (empty: none), which is there or not."""

    guest: str
    name: str
    size: int
    backing: str = ""
    backed: bool = True


class Census(Model, frozen=True, kw_only=True):
    """Names as the kernel and the file system have them. `processes`: guest id -> pids; `taps`: namespace -> names of tap devices."""

    tag: str = ""  # what the host's names carry
    guest_directories: list[str] = []
    processes: dict[str, list[int]] = {}
    namespaces: list[str] = []
    taps: dict[str, list[str]] = {}
    broken_disks: list[str] = []
    disks: list[FoundDisk] | None = None  # None: not looked at, by a host of an earlier version; so below
    addresses: dict[str, dict[str, str]] | None = None  # namespace -> {address: MAC that DHCP gives it to}
    unfiltered: list[str] = []  # namespaces without our packet filter
