"""Placement: providers of resources, their consumers, what a placement is asked and what it decides."""

from pileus.model.base import Model, Resource

MAX_INT = 0x7FFFFFFF


class Inventory(Model, frozen=True, kw_only=True):
    """How much of one resource class a provider has, and in what portions it may be taken."""

    total: int
    reserved: int = 0
    min_unit: int = 1
    max_unit: int = MAX_INT
    step_size: int = 1
    allocation_ratio: float = 1.0

    @property
    def capacity(self) -> int:
        """What may be allocated at most, overcommit included."""
        return int((self.total - self.reserved) * self.allocation_ratio)

    def allows(self, amount: int) -> bool:
        """Whether the amount is a portion that may be taken, were it free."""
        return self.min_unit <= amount <= self.max_unit and amount % self.step_size == 0

    def refusal(self, amount: int, used: int) -> str:
        """Why so much more can't be taken while so much is used; empty when it can."""
        if not self.allows(amount):
            return f"{amount} is not within {self.min_unit} to {self.max_unit} in steps of {self.step_size}"
        free = self.capacity - used
        return "" if amount <= free else f"{amount} wanted, {max(free, 0)} free"


class Provider(Resource, frozen=True, kw_only=True):
    """A resource provider. `generation` grows with every change of inventories, traits or allocations.

    `used` is the sum of its allocations by class; `changed` is the epoch of the last change of the row (store/provider_view.py).
    `traits` are sorted.
    """

    name: str
    parent_id: str | None = None
    root_id: str
    inventories: dict[str, Inventory] = {}
    used: dict[str, int] = {}
    traits: list[str] = []
    aggregates: list[str] = []
    changed: int = 0


class Consumer(Resource, frozen=True, kw_only=True):
    """What uses resources: a server, a migration, a volume. Exists as long as it has allocations."""

    project_id: str
    user_id: str
    consumer_type: str | None = None  # None: made before consumers had types, shown as "unknown"


class Allocation(Model, frozen=True, kw_only=True):
    """What one consumer takes of one provider."""

    consumer_id: str
    provider_id: str
    resources: dict[str, int]
    created_at: float


class Claim(Model, frozen=True, kw_only=True):
    """A consumer is to have these resources of one provider, which was seen at `generation`, and nothing else."""

    consumer_id: str
    provider_id: str
    generation: int
    resources: dict[str, int]
    project_id: str
    user_id: str
    consumer_type: str = "INSTANCE"


class Wanted(Model, frozen=True, kw_only=True):
    """What a consumer is to have: exactly these resources by provider; none: the consumer goes.

    `generation` is the consumer's as it was seen, None for a consumer that should not exist yet; ignored when `unguarded`.
    `consumer_type` None leaves the type of a known consumer as it is. `released`: room is made, so that no other claim needs a fresh look
    (the provider's generation stays).
    """

    consumer_id: str
    allocations: dict[str, dict[str, int]]
    project_id: str
    user_id: str
    consumer_type: str | None = None
    generation: int | None = None
    unguarded: bool = False
    released: bool = False


class Cell(Model, frozen=True, kw_only=True):
    """A NUMA node of a host, as large as it is in all."""

    cpus: int
    memory_mib: int


class HostState(Model, frozen=True, kw_only=True):
    """All of a host that a placement looks at but its name: hosts in the same state are equally good.

    `stocks` is [(resource class, inventory, used)] sorted by class; `metadata` is [(key, value)] of the host's aggregates.
    `cells` is empty for a host that reports no NUMA nodes.
    """

    zone: str
    cluster: str = "default"
    enabled: bool = True
    disabled_reason: str = ""
    up: bool = True
    traits: frozenset[str] = frozenset()
    aggregates: frozenset[str] = frozenset()
    metadata: frozenset[tuple[str, str]] = frozenset()
    stocks: tuple[tuple[str, Inventory, int], ...] = ()
    cells: tuple[Cell, ...] = ()


class HostView(Model, frozen=True, kw_only=True):
    """A host as a placement sees it. `id` and `generation` are its provider's."""

    id: str
    name: str
    generation: int
    state: HostState


class TraitWish(Model, frozen=True, kw_only=True):
    """A trait that a host must (or must not) have, and who says so: "image property hw_architecture=aarch64"."""

    trait: str
    source: str
    forbidden: bool = False


class NumaWish(Model, frozen=True, kw_only=True):
    """The guest's NUMA nodes: each has a node of the host's to itself that is so large at least."""

    cells: tuple[Cell, ...]


class PlacementRequest(Model, frozen=True, kw_only=True):
    """What a server needs of a host.

    Hosts are names. `group_policy` is one of affinity, anti-affinity, soft-affinity, soft-anti-affinity; `group_hosts` counts the group's
    members on each host. `avoid` maps hosts that are not to be tried (again) to the reason. `seed` breaks ties.
    """

    resources: dict[str, int]
    one_of: list[dict[str, int]] = []  # more resources: the first of these that some host has (sizes of huge pages)
    traits: list[TraitWish] = []
    cluster: str | None = None  # a server that moves stays in its cluster
    zone: str | None = None
    host: str | None = None
    aggregates: list[list[str]] = []  # member of at least one of each list
    metadata: dict[str, str] = {}  # aggregate_instance_extra_specs
    properties: dict[str, str] = {}  # the image's: an aggregate that names one of these keeps other values away
    numa: NumaWish | None = None
    same_host: frozenset[str] | None = None
    different_host: frozenset[str] = frozenset()
    group_policy: str | None = None
    group_hosts: dict[str, int] = {}
    max_per_host: int = 1
    avoid: dict[str, str] = {}
    seed: int = 0


class Reason(Model, frozen=True, kw_only=True):
    """Why hosts were removed: how many, and the names of the first of them."""

    text: str
    count: int
    hosts: list[str]


class Removal(Model, frozen=True, kw_only=True):
    """What one filter removed."""

    filter: str
    count: int
    reasons: list[Reason]


class Score(Model, frozen=True, kw_only=True):
    """How good a host is: the sum of its weights."""

    host: str
    total: float
    weights: dict[str, float]


class ClusterScore(Model, frozen=True, kw_only=True):
    """A cluster that has hosts which fit: how many, and which share of the cluster is free (0 to 1)."""

    cluster: str
    fitting: int
    free: float


class Decision(Model, frozen=True, kw_only=True):
    """Where a server goes and why; `host` None when nowhere. Kept for `why`.

    `considered` hosts were looked at, `fitting` of them passed every filter; `removals` say what each filter took away. Of the `clusters`
    that have a fitting host the first was chosen, by `cluster_reason`; `scores` are the best hosts' of that one, `alternates` come next.
    `nearest` says for a failure what the best of the others lacked, `nearby` what those after it lack.
    """

    host: str | None = None
    provider_id: str | None = None
    generation: int = 0
    resources: dict[str, int] = {}
    considered: int = 0
    fitting: int = 0
    removals: list[Removal] = []
    cluster: str | None = None
    cluster_reason: str = ""
    clusters: list[ClusterScore] = []
    scores: list[Score] = []
    alternates: list[str] = []
    nearest: str = ""
    nearby: list[str] = []

    @property
    def message(self) -> str:
        """One sentence for the server's fault or its events."""
        if self.host is not None:
            where = f" of cluster {self.cluster} ({self.cluster_reason})" if len(self.clusters) > 1 else ""
            return f"Placed on {self.host}{where}: the best of {self.fitting} hosts that fit, of {self.considered}."
        if not self.considered:
            return "No valid host was found. There are no hosts."
        removed = ", ".join(f"{one.filter} removed {one.count}" for one in self.removals)
        return f"No valid host was found. Of {self.considered} hosts {removed}. {self.nearest}".rstrip()


class KeptDecision(Model, frozen=True, kw_only=True):
    """A decision about a server, as the store keeps it."""

    id: str
    server_id: str
    created_at: float
    decision: Decision
