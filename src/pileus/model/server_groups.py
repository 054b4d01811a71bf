"""A server group: servers that are to be placed together or apart."""

from pileus.model.base import Resource


class ServerGroup(Resource, frozen=True, kw_only=True):
    """`policy` is affinity, anti-affinity, soft-affinity or soft-anti-affinity; `rules` may hold max_server_per_host."""

    project_id: str
    user_id: str
    name: str
    policy: str
    rules: dict[str, int] = {}
