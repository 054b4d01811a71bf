"""The routes of the placement service."""

from pileus.api.faults import placement_fault
from pileus.api.placement import aggregates, allocations, candidates, inventories, providers, reshaper, resource_classes, traits, usages
from pileus.api.placement.answers import answer
from pileus.api.placement.history import HISTORY
from pileus.api.placement.policy import POLICY
from pileus.api.request import Request, Response
from pileus.api.routes import PUBLIC, Service, route
from pileus.api.versions import dotted


async def versions(request: Request) -> Response:
    """The one version, with the range of its microversions."""
    known = {"id": f"v{dotted(HISTORY.minimum)}", "max_version": dotted(HISTORY.maximum), "min_version": dotted(HISTORY.minimum)}
    return answer(request, {"versions": [{**known, "status": "CURRENT", "links": [{"rel": "self", "href": ""}]}]})


RPS, RP = "/resource_providers", "/resource_providers/{uuid}"
INV, ONE, RC = RP + "/inventories", RP + "/inventories/{resource_class}", "/resource_classes/{name}"
P, I, A = "placement:resource_providers", "placement:resource_providers:inventories", "placement:allocations"  # noqa: E741
C, T, PT = "placement:resource_classes", "placement:traits", "placement:resource_providers:traits"
CONSUMER = "/allocations/{consumer_uuid}"

# fmt: off
ROUTES = [
    route("GET",    "/",                   versions, PUBLIC),
    route("GET",    RPS,                   providers.list_providers, P + ":list", shape="providers"),
    route("POST",   RPS,                   providers.create_provider, P + ":create", shape="provider_created",
          body=providers.CreateProvider),
    route("GET",    RP,                    providers.show_provider, P + ":show", shape="provider"),
    route("PUT",    RP,                    providers.update_provider, P + ":update", shape="provider_put", body=providers.UpdateProvider),
    route("DELETE", RP,                    providers.remove_provider, P + ":delete", success=204),

    route("GET",    INV,                   inventories.list_inventories, I + ":list"),
    route("POST",   INV,                   inventories.create_inventory, I + ":create", shape="inventory_post",
          body=inventories.CreateInventory),
    route("PUT",    INV,                   inventories.put_inventories, I + ":update", shape="inventories_put",
          body=inventories.PutInventories),
    route("DELETE", INV,                   inventories.remove_inventories, I + ":delete", success=204, since=(1, 5)),
    route("DELETE", INV,                   inventories.not_yet, I + ":delete", until=(1, 4)),
    route("GET",    ONE,                   inventories.show_inventory, I + ":show"),
    route("PUT",    ONE,                   inventories.put_inventory, I + ":update", shape="inventory_put", body=inventories.PutInventory),
    route("DELETE", ONE,                   inventories.remove_inventory, I + ":delete", success=204),

    route("GET",    RP + "/usages",        usages.provider_usages, P + ":usages"),
    route("GET",    RP + "/aggregates",    aggregates.list_aggregates, P + ":aggregates:list", shape="aggregates", since=(1, 1)),
    route("PUT",    RP + "/aggregates",    aggregates.put_aggregates, P + ":aggregates:update", shape="aggregates",
          body=aggregates.PutAggregates, since=(1, 1)),
    route("GET",    RP + "/allocations",   allocations.provider_allocations, P + ":allocations:list", shape="provider_allocations"),
    route("GET",    RP + "/traits",        traits.list_provider_traits, PT + ":list", since=(1, 6)),
    route("PUT",    RP + "/traits",        traits.put_provider_traits, PT + ":update", since=(1, 6), body=traits.PutTraits),
    route("DELETE", RP + "/traits",        traits.remove_provider_traits, PT + ":delete", since=(1, 6), success=204),

    route("GET",    "/traits",             traits.list_traits, T + ":list", since=(1, 6)),
    route("GET",    "/traits/{name}",      traits.show_trait, T + ":show", since=(1, 6), success=204),
    route("PUT",    "/traits/{name}",      traits.put_trait, T + ":update", since=(1, 6)),
    route("DELETE", "/traits/{name}",      traits.remove_trait, T + ":delete", since=(1, 6), success=204),

    route("GET",    "/resource_classes",   resource_classes.list_classes, C + ":list", since=(1, 2)),
    route("POST",   "/resource_classes",   resource_classes.create_class, C + ":create", since=(1, 2), body=resource_classes.NamedClass),
    route("GET",    RC,                    resource_classes.show_class, C + ":show", since=(1, 2)),
    route("PUT",    RC,                    resource_classes.put_class, C + ":update", since=(1, 7)),
    route("PUT",    RC,                    resource_classes.rename_class, C + ":update", since=(1, 2), until=(1, 6),
          body=resource_classes.NamedClass),
    route("DELETE", RC,                    resource_classes.remove_class, C + ":delete", since=(1, 2), success=204),

    route("POST",   "/allocations",        allocations.manage_allocations, A + ":manage", shape="allocations_post", body=allocations.Many,
          since=(1, 13), success=204),
    route("GET",    CONSUMER,              allocations.show_allocations, A + ":list", shape="allocations"),
    route("PUT",    CONSUMER,              allocations.put_allocations, A + ":update", shape="allocations_put", success=204,
          body=allocations.ConsumerAllocations),
    route("DELETE", CONSUMER,              allocations.remove_allocations, A + ":delete", success=204),

    route("GET",    "/allocation_candidates", candidates.list_candidates, "placement:allocation_candidates:list", shape="candidates",
          since=(1, 10)),
    route("GET",    "/usages",             usages.total_usages, "placement:usages", shape="usages", since=(1, 9)),
    route("POST",   "/reshaper",           reshaper.reshape, "placement:reshaper:reshape", shape="reshape", since=(1, 30),
          body=reshaper.Reshape, success=204),
]
# fmt: on

SERVICE = Service(
    prefix="placement",
    name="placement",
    type="placement",
    routes=ROUTES,
    policy=POLICY,
    fault=placement_fault,
    history=HISTORY,
    refusal="JSON does not validate",
)
