"""A host aggregate: hosts that an administrator has put together, with metadata, and perhaps an availability zone."""

from pileus.model.base import Resource


class Aggregate(Resource, frozen=True, kw_only=True):
    """`number` is the id of the API, `id` its uuid."""

    number: int
    name: str
    availability_zone: str | None = None
    hosts: list[str] = []
    metadata: dict[str, str] = {}
