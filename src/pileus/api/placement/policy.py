"""Who may do what in Placement: administrators and services, with a token of a project; a project's readers see its usage."""

RP = "placement:resource_providers"

POLICY = {
    **{f"{RP}:{verb}": "project_admin_or_service" for verb in ("list", "create", "show", "update", "delete")},
    **{f"{RP}:inventories:{verb}": "project_admin_or_service" for verb in ("list", "create", "show", "update", "delete")},
    **{f"{RP}:aggregates:{verb}": "project_admin_or_service" for verb in ("list", "update")},
    **{f"{RP}:traits:{verb}": "project_admin_or_service" for verb in ("list", "update", "delete")},
    f"{RP}:usages": "project_admin_or_service",
    f"{RP}:allocations:list": "project_admin_or_service",
    **{f"placement:resource_classes:{verb}": "project_admin_or_service" for verb in ("list", "create", "show", "update", "delete")},
    **{f"placement:traits:{verb}": "project_admin_or_service" for verb in ("list", "show", "update", "delete")},
    **{f"placement:allocations:{verb}": "project_admin_or_service" for verb in ("list", "manage", "update", "delete")},
    "placement:usages": "project_reader_or_service",
    "placement:allocation_candidates:list": "project_admin_or_service",
    "placement:reshaper:reshape": "project_service",
}
