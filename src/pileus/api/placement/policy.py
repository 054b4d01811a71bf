"""Who may do what in Placement: administrators and services; a project's readers see its usage."""

RP = "placement:resource_providers"

POLICY = {
    **{f"{RP}:{verb}": "service" for verb in ("list", "create", "show", "update", "delete")},
    **{f"{RP}:inventories:{verb}": "service" for verb in ("list", "create", "show", "update", "delete")},
    **{f"{RP}:aggregates:{verb}": "service" for verb in ("list", "update")},
    **{f"{RP}:traits:{verb}": "service" for verb in ("list", "update", "delete")},
    f"{RP}:usages": "service",
    f"{RP}:allocations:list": "service",
    **{f"placement:resource_classes:{verb}": "service" for verb in ("list", "create", "show", "update", "delete")},
    **{f"placement:traits:{verb}": "service" for verb in ("list", "show", "update", "delete")},
    **{f"placement:allocations:{verb}": "service" for verb in ("list", "manage", "update", "delete")},
    "placement:usages": "reader_or_service",
    "placement:allocation_candidates:list": "service",
    "placement:reshaper:reshape": "service",
}
