"""The world as `verify` sees it: records of the store, and what each host has by its own census."""

from functools import cached_property
from typing import Any

from pileus.model.actions import Action, ActionEvent
from pileus.model.aggregates import Aggregate
from pileus.model.application_credentials import ApplicationCredential
from pileus.model.base import Model
from pileus.model.census import FoundDisk
from pileus.model.floating_ips import FloatingIp
from pileus.model.groups import Group
from pileus.model.guests import ObservedGuest
from pileus.model.hosts import Host
from pileus.model.images import Image, ImageTask
from pileus.model.migrations import Migration, MigrationStep
from pileus.model.networks import Network, RbacPolicy
from pileus.model.placement import Consumer, Provider
from pileus.model.ports import Port
from pileus.model.projects import Project
from pileus.model.roles import Role
from pileus.model.routers import Router
from pileus.model.security_groups import SecurityGroup, SecurityGroupRule
from pileus.model.servers import Server
from pileus.model.subnet_pools import SubnetPool
from pileus.model.subnets import Subnet
from pileus.model.trusts import Trust
from pileus.model.users import User


class View(Model, frozen=True, kw_only=True):
    """What is on one host, found by looking at the host itself; `domains` alone is what records want there."""

    host: str
    guests: list[ObservedGuest] = []
    guest_directories: list[str] = []
    processes: dict[str, list[int]] = {}  # guest id -> pids of hypervisor processes of it
    taps: dict[str, list[str]] = {}  # routing domain -> port ids that have a tap
    namespaces: list[str] = []  # routing domains that have a namespace
    domains: dict[str, list[str]] = {}  # routing domain that should be here -> local port ids
    broken_disks: list[str] = []  # "guest/disk: what the check said"
    needed: list[str] | None = None  # those of `domains` with ports of guests that are built; None: all that have ports
    disks: list[FoundDisk] | None = None  # None: nobody looked
    unfiltered: list[str] = []  # routing domains whose namespace lacks our packet filter
    addresses: dict[str, dict[str, str]] | None = None  # routing domain -> {address: MAC that DHCP gives it to}
    served: dict[str, dict[str, str]] = {}  # the same as records want it
    local: dict[str, list[str]] = {}  # routing domain -> those of these addresses that are of guests here


class Taken(Model, frozen=True, kw_only=True):
    """The record of an address in use."""

    subnet_id: str
    ip_address: str
    port_id: str
    place: int | None = None


class HeldLease(Model, frozen=True, kw_only=True):
    """Who leads; `left` in seconds, below 0 when it ran out; `returned`: its holder gave it back."""

    name: str
    holder: str
    left: float
    returned: bool = False


class World(Model, frozen=True, kw_only=True, dict=True):
    """All that is compared, gathered at one time. `settled` holds the servers about which nothing is being done: only of these a hypervisor
    must say what the record says. What follows from the fields (indexes) is computed once and kept.
    """

    now: float = 0.0
    views: list[View] = []
    away: list[str] = []  # hosts that are known to be down: nobody looks at them
    unseen: list[str] = []  # "host: why it could not be looked at"
    dangling: dict[str, list[tuple[tuple[Any, ...], str]]] = {}  # reference -> (key of the row, what it names that is not there)

    servers: list[Server] = []
    gone: frozenset[str] = frozenset()  # servers that are gone, of which the row is kept for a while
    settled: frozenset[str] = frozenset()
    moves: list[Migration] = []  # those that are not over in every respect, and those that are over and odd
    open_events: list[tuple[Action, ActionEvent]] = []  # steps that have no end yet
    odd_events: list[ActionEvent] = []  # an end without a result or the other way round, or a failure without a word

    hosts: list[Host] = []  # without what they reported of their capabilities
    fenced: frozenset[str] = frozenset()  # hosts that were switched off and have not reported since
    aggregates: list[Aggregate] = []
    leases: list[HeldLease] = []

    providers: list[Provider] = []
    consumers: list[Consumer] = []
    allocations: dict[str, dict[str, dict[str, int]]] = {}  # consumer -> provider -> resources
    epoch: int = 0
    custom_traits: frozenset[str] = frozenset()
    custom_classes: frozenset[str] = frozenset()

    networks: list[Network] = []
    subnets: list[Subnet] = []
    subnet_pools: list[SubnetPool] = []
    rbac_policies: list[RbacPolicy] = []
    ports: list[Port] = []
    taken: list[Taken] = []
    cursors: dict[str, int] = {}  # subnet -> the place below which nothing is free
    routers: list[Router] = []
    floating_ips: list[FloatingIp] = []
    security_groups: list[SecurityGroup] = []
    rules: list[SecurityGroupRule] = []
    memberships: list[tuple[str, str]] = []  # (port, security group)
    network_tags: list[tuple[str, str]] = []  # (resource, tag)

    images: list[Image] = []
    image_tags: list[tuple[str, str]] = []
    image_properties: list[tuple[str, str, str]] = []
    image_tasks: list[ImageTask] = []
    image_files: dict[tuple[str, str], int] = {}  # (store, content hash) -> size of the file

    projects: list[Project] = []  # and domains
    users: list[User] = []
    groups: list[Group] = []
    roles: list[Role] = []
    implied_roles: list[tuple[str, str]] = []  # (prior, implied)
    trusts: list[Trust] = []
    application_credentials: list[ApplicationCredential] = []
    access_rules: frozenset[str] = frozenset()
    regions: dict[str, str | None] = {}  # region -> the region above
    quota_limits: list[tuple[str, str, int]] = []  # (project, resource, limit)
    countables: frozenset[str] = frozenset()  # the resources that have a limit

    @cached_property
    def server_of(self) -> dict[str, Server]:
        """Living servers by id."""
        return {one.id: one for one in self.servers}

    @cached_property
    def settled_on(self) -> dict[str, list[Server]]:
        """Host -> its servers about which nothing is being done."""
        found: dict[str, list[Server]] = {}
        for one in self.servers:
            if one.host is not None and one.id in self.settled:
                found.setdefault(one.host, []).append(one)
        return found

    @cached_property
    def host_of(self) -> dict[str, Host]:
        """Hosts by name."""
        return {one.name: one for one in self.hosts}

    @cached_property
    def alive(self) -> dict[str, Migration]:
        """Migrations that are not over in every respect: they hold allocations of their own, their hosts may have copies."""
        return {one.id: one for one in self.moves if one.step != MigrationStep.DONE}

    @cached_property
    def port_of(self) -> dict[str, Port]:
        """Ports by id."""
        return {one.id: one for one in self.ports}

    @cached_property
    def subnet_of(self) -> dict[str, Subnet]:
        """Subnets by id."""
        return {one.id: one for one in self.subnets}

    @cached_property
    def network_of(self) -> dict[str, Network]:
        """Networks by id."""
        return {one.id: one for one in self.networks}

    @cached_property
    def router_of(self) -> dict[str, Router]:
        """Routers by id."""
        return {one.id: one for one in self.routers}

    @cached_property
    def provider_of(self) -> dict[str, Provider]:
        """Providers by id."""
        return {one.id: one for one in self.providers}

    @cached_property
    def project_of(self) -> dict[str, Project]:
        """Projects and domains by id."""
        return {one.id: one for one in self.projects}

    @cached_property
    def domains(self) -> frozenset[str]:
        """The ids of domains."""
        return frozenset(one.id for one in self.projects if one.is_domain)

    @cached_property
    def running_on(self) -> dict[str, list[str]]:
        """Guest -> the hosts that have a hypervisor process of it."""
        found: dict[str, list[str]] = {}
        for view in self.views:
            for guest in view.processes:
                found.setdefault(guest, []).append(view.host)
        return found
