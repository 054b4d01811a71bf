"""A subnet pool: prefixes from which subnets are cut."""

from pileus.model.base import Resource


class SubnetPool(Resource, frozen=True, kw_only=True):
    """A pool. `default_quota` None: no limit; else what one project may take: addresses (IPv4) or /64s (IPv6)."""

    project_id: str
    name: str
    description: str = ""
    prefixes: list[str]
    ip_version: int
    default_prefixlen: int
    min_prefixlen: int
    max_prefixlen: int
    default_quota: int | None = None
    shared: bool = False
    is_default: bool = False
    tags: list[str] = []
