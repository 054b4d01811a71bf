"""Uplinks: bridges in the host's own namespace that stand for physical networks, with NAT to the outside and the host's own protection."""

import contextlib
import os
import socket
import threading
from pathlib import Path
from typing import Any

import msgspec

from pileus.core import network_names as names
from pileus.core import nft_uplink
from pileus.model.errors import NodeFailed
from pileus.model.routing import Uplink
from pileus.node.network import nft_load
from pileus.node.network.links import BRIDGE, Links

SYSCTL = Path("/proc/sys/net")


class Uplinks:
    """The uplinks of one cloud on this host. Its methods block and run in the host's own namespace; one at a time.

    `directory` keeps what was asked for, one file an uplink.
    """

    def __init__(self, directory: Path, tag: str) -> None:
        self.directory = directory
        self.tag = tag
        self._lock = threading.Lock()
        self._loaded = ""
        self._remotes: frozenset[str] = frozenset()

    def admit(self, remotes: set[str]) -> None:
        """Take VXLAN from these hosts and no others."""
        with self._lock:
            if self._remotes != remotes:
                self._remotes = frozenset(remotes)
                self._rules()

    def known(self) -> list[Uplink]:
        """The uplinks that were asked for, by name."""
        paths = sorted(self.directory.glob("uplink-*.json")) if self.directory.exists() else []
        return [msgspec.json.decode(path.read_bytes(), type=Uplink) for path in paths]

    def apply(self, wanted: list[Uplink], drop_peers: set[str]) -> None:
        """Make these uplinks as they should be, whatever others there are; `drop_peers` are veth ends left behind by something gone."""
        with self._lock:
            if wanted or drop_peers:
                with Links() as links:
                    links.remove(name for name in drop_peers if name in links.found)
                    for uplink in wanted:
                        self._bridge(links, uplink)
                        self._remember(uplink)
            self._rules()

    def join(self, peers: dict[str, str]) -> None:
        """Put veth ends on the bridges of their uplinks."""
        with self._lock, Links() as links:
            for name, uplink in peers.items():
                bridge = links.found.get(names.uplink_bridge(self.tag, uplink))
                found = links.found.get(name)
                if bridge is None or found is None:
                    raise NodeFailed(f"The physical network {uplink} is not set up on this host.")
                if found.get_attr("IFLA_MASTER") != bridge["index"] or not found["flags"] & 1:
                    _setting(f"ipv6/conf/{name}/disable_ipv6", "1")
                    links.netlink.link("set", index=found["index"], master=bridge["index"], state="up")

    def joined(self) -> dict[str, str]:
        """Our devices that are ports of a bridge, with that bridge's name."""
        with Links() as links:
            by_index = {link["index"]: name for name, link in links.found.items()}
            masters = {name: by_index.get(link.get_attr("IFLA_MASTER"), "") for name, link in links.found.items() if self.is_ours(name)}
        return {name: master for name, master in masters.items() if master}

    def intact(self, peers: dict[str, str], joined: dict[str, str]) -> bool:
        """Whether every veth end is there and on its uplink's bridge, as `joined()` says."""
        return all(joined.get(peer) == names.uplink_bridge(self.tag, uplink) for peer, uplink in peers.items())

    def refresh(self) -> None:
        """Load our table again when the host's forwarding changed since."""
        with self._lock:
            if self.known() or self._remotes:
                self._rules()

    def remove(self) -> None:
        """Remove bridges, what is left of veth pairs, our table, and set forwarding back as it was."""
        with self._lock:
            with Links() as links:
                links.remove([name for name in links.found if self.is_ours(name)])
            nft_load.load(nft_uplink.ruleset([], self.tag))
            self._loaded, self._remotes = "", frozenset()
            if not any(name.startswith(names.UPLINK_PREFIX) for _, name in socket.if_nameindex()):  # another cloud on this host needs them
                for path, value in _settings().items():
                    _setting(path, value)
                _settings_path().unlink(missing_ok=True)
            for path in self.directory.glob("*.json") if self.directory.exists() else []:
                path.unlink()
            with contextlib.suppress(OSError):
                self.directory.rmdir()

    def devices(self) -> list[str]:
        """Our devices in the host's own namespace, and our table."""
        found = sorted(name for _, name in socket.if_nameindex() if self.is_ours(name))
        table = nft_uplink.table_name(self.tag)
        return [*found, f"nft table inet {table}"] if nft_load.table_exists("inet", table) else found

    def is_ours(self, name: str) -> bool:
        """Whether a device of the host is of this cloud."""
        return name.startswith((f"pu{self.tag}-", f"pv{self.tag}"))

    def _bridge(self, links: Links, uplink: Uplink) -> None:
        name = names.uplink_bridge(self.tag, uplink.name)
        if name not in links.found:
            mac = names.derived_mac("uplink", self.tag, uplink.name)
            links.netlink.link("add", ifname=name, kind="bridge", address=mac, mtu=uplink.mtu, **BRIDGE)
            _setting(f"ipv6/conf/{name}/accept_ra", "0")
            _setting(f"ipv6/conf/{name}/accept_dad", "0")
            links.refresh()
        index = links.found[name]["index"]
        if uplink.interface:
            self._enslave(links, uplink, index)
        links.converge_addresses(name, uplink.addresses)
        if not links.found[name]["flags"] & 1:
            links.netlink.link("set", index=index, state="up")
        if uplink.addresses:
            self._forward(name, uplink)

    def _enslave(self, links: Links, uplink: Uplink, bridge: int) -> None:
        found = links.found.get(uplink.interface or "")
        if found is None:
            raise NodeFailed(f"The interface {uplink.interface} of the physical network {uplink.name} is not on this host.")
        if found.get_attr("IFLA_MASTER") == bridge:
            return
        addresses = [one.get_attr("IFA_ADDRESS") for one in links.netlink.get_addr(index=found["index"]) if one["scope"] == 0]
        if addresses:
            raise NodeFailed(
                f"The interface {uplink.interface} has addresses ({', '.join(addresses)}): bridging it would cut the host off. "
                f"Give the physical network {uplink.name} an interface without addresses."
            )
        links.netlink.link("set", index=found["index"], master=bridge, state="up")

    def _forward(self, bridge: str, uplink: Uplink) -> None:
        """Switch on forwarding for the bridge and the NIC to the outside; IPv6 knows it for the whole host only."""
        if any(":" not in address for address in uplink.addresses):
            _setting(f"ipv4/conf/{bridge}/forwarding", "1")
            if uplink.masquerade:
                for device in _way_out():
                    self._switch_on(f"ipv4/conf/{device}/forwarding")
        if any(":" in address for address in uplink.addresses) and uplink.masquerade:
            # A host that forwards stops listening to router advertisements, unless it is told to go on.
            for path in (SYSCTL / "ipv6/conf").glob("*/accept_ra"):
                if path.read_text().strip() == "1":
                    self._switch_on(str(path.relative_to(SYSCTL)), "2")
            self._switch_on("ipv6/conf/all/forwarding")

    def _switch_on(self, path: str, value: str = "1") -> None:
        before = _read(path)
        if before is None or before == value:
            return
        _settings_path().parent.mkdir(parents=True, exist_ok=True)
        _settings_path().write_bytes(msgspec.json.encode({path: before, **_settings()}))
        _setting(path, value)

    def _rules(self) -> None:
        changed = [path.split("/")[2] for path in _settings() if path.startswith("ipv4/conf/")]
        contained = sorted(changed) if _read("ipv4/ip_forward") == "0" else []
        text = nft_uplink.ruleset(self.known(), self.tag, contained, sorted(self._remotes))
        if text != self._loaded:
            nft_load.load(text)
            self._loaded = text

    def _path(self, name: str) -> Path:
        return self.directory / f"uplink-{names.uplink_bridge(self.tag, name)}.json"

    def _remember(self, uplink: Uplink) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self._path(uplink.name)
        data = msgspec.json.encode(uplink)
        if not path.exists() or path.read_bytes() != data:
            temporary = path.with_suffix(".new")
            temporary.write_bytes(data)
            temporary.replace(path)


def _settings_path() -> Path:
    """Where the settings stand as they were before: one file for all clouds of a host, as the last to leave sets them back."""
    return Path(f"/run/pileus/settings-before-{os.stat('/proc/self/ns/net').st_ino}.json")


def _settings() -> dict[str, str]:
    try:
        return msgspec.json.decode(_settings_path().read_bytes(), type=dict[str, str])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def _way_out() -> list[str]:
    """The NICs that the host's default routes use."""
    lines = Path("/proc/thread-self/net/route").read_text().splitlines()[1:]
    return list(dict.fromkeys(line.split()[0] for line in lines if line.split()[1] == "00000000"))


def _read(path: str) -> Any:
    try:
        return (SYSCTL / path).read_text().strip()
    except FileNotFoundError:
        return None


def _setting(path: str, value: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        (SYSCTL / path).write_text(value)
