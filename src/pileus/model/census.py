"""What is on a host of a cloud, found by looking at the host itself and not at anybody's records."""

from pileus.model.base import Model


class Census(Model, frozen=True, kw_only=True):
    """Names as the kernel and the file system have them. `processes`: guest id -> pids; `taps`: namespace -> names of tap devices."""

    tag: str = ""  # what the host's names carry
    guest_directories: list[str] = []
    processes: dict[str, list[int]] = {}
    namespaces: list[str] = []
    taps: dict[str, list[str]] = {}
    broken_disks: list[str] = []
