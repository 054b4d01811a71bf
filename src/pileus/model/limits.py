"""Unified limits: how much of a service's resource a project or domain may have, kept in one place for all services."""

from typing import Literal

from pileus.model.base import Model, Resource


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


class UnifiedLimits(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Services whose quotas are the identity service's limits. `strategy` and `resources` are the compute service's, as Nova's
    `unified_limits_resource_strategy` and `unified_limits_resource_list`."""

    services: tuple[Literal["compute", "image", "network"], ...] = ()
    strategy: Literal["require", "ignore"] = "require"
    resources: tuple[str, ...] = ("servers",)


class QuotaSource(Model, frozen=True, kw_only=True):
    """That a service's quotas are unified limits: of which service and region, and what counts for a resource that is not registered.

    `listed` names resources. With `require`, one of them that is not registered can't be had, and all others are unlimited; with `ignore`
    it is the other way round. `tree`: what all projects of a domain use together is held against the domain's limit (strict_two_level).
    """

    service_id: str
    region: str
    strategy: str = "require"
    listed: tuple[str, ...] | None = None  # None: every resource
    tree: bool = False


class Allowance(Model, frozen=True, kw_only=True):
    """What a project may have of a resource; -1: any amount. `domain_limit`: all projects of the domain together."""

    limit: int
    domain_id: str = ""
    domain_limit: int = -1
