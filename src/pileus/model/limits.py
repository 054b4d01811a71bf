"""Unified limits: how much of a service's resource a project or domain may have, kept in one place for all services."""

from pileus.model.base import Resource


class RegisteredLimit(Resource, frozen=True, kw_only=True):
    """What a resource of a service is limited to unless a Limit says otherwise; -1: no limit. `region_id` None: in every region."""

    service_id: str
    region_id: str | None = None
    resource_name: str
    default_limit: int
    description: str | None = None


class Limit(Resource, frozen=True, kw_only=True):
    """What a registered limit is for one project or one domain; just one of the two ids is set."""

    registered_limit_id: str
    project_id: str | None = None
    domain_id: str | None = None
    resource_limit: int
    description: str | None = None
