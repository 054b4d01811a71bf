"""Documents of policy given to endpoints, services, and services in regions (Keystone's OS-ENDPOINT-POLICY)."""

from pileus.api.identity.catalog import all_endpoints, all_services
from pileus.api.identity.documents import Document, collection, found, write
from pileus.api.identity.endpoints import endpoint_document
from pileus.api.identity.policies import policy_document
from pileus.api.request import Request
from pileus.model.catalog import Endpoint
from pileus.model.errors import NotFound
from pileus.store.catalog import POLICIES, REGIONS
from pileus.store.database import Reader, Transaction
from pileus.store.policy_associations import Place, associate, associated, dissociate, places_of


async def _place(request: Request, db: Reader) -> Place:
    """What the path names; NotFound when the document, the endpoint, the service or the region is not there."""
    params = request.params
    policy_id, endpoint_id = params["policy_id"], params.get("endpoint_id", "")
    service_id, region_id = params.get("service_id", ""), params.get("region_id", "")
    found(await POLICIES.get(db, policy_id), "policy", policy_id)
    if endpoint_id:
        found(next((one for one in await all_endpoints(request, db) if one.id == endpoint_id), None), "endpoint", endpoint_id)
    if service_id:
        found(next((one for one in await all_services(request, db) if one.id == service_id), None), "service", service_id)
    if region_id:
        found(await REGIONS.get(db, region_id), "region", region_id)
    return endpoint_id, service_id, region_id


async def give(request: Request) -> None:
    """PUT: the place has this document from now on."""

    async def work(tx: Transaction) -> None:
        await associate(tx, await _place(request, tx), request.params["policy_id"])

    await write(request, work)


async def check(request: Request) -> None:
    """GET, HEAD: NotFound unless just this place has just this document."""
    db = request.cloud.db
    if await associated(db, await _place(request, db)) != request.params["policy_id"]:
        raise NotFound("Could not find policy association.")


async def take(request: Request) -> None:
    """DELETE: the place has this document no more."""

    async def work(tx: Transaction) -> None:
        await dissociate(tx, await _place(request, tx), request.params["policy_id"])

    await write(request, work)


async def endpoints_of_policy(request: Request) -> Document:
    """GET /v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints: those that have it, by themselves or by their service and region."""
    db, policy_id = request.cloud.db, request.params["policy_id"]
    found(await POLICIES.get(db, policy_id), "policy", policy_id)
    places, every = await places_of(db, policy_id), await all_endpoints(request, db)
    below = {region: await _below(db, region) for _, _, region in places if region}
    mine = [one for one in every if any(_covers(place, one, below) for place in places)]
    return collection(request, "endpoints", [endpoint_document(request, one) for one in mine])


def _covers(place: Place, endpoint: Endpoint, below: dict[str, set[str]]) -> bool:
    endpoint_id, service_id, region_id = place
    if endpoint_id:
        return endpoint.id == endpoint_id
    return endpoint.service_id == service_id and (not region_id or endpoint.region_id in below[region_id])


async def _below(db: Reader, region_id: str) -> set[str]:
    """A region with all below it."""
    regions, inside = await REGIONS.find(db), {region_id}
    while more := {one.id for one in regions if one.parent_region_id in inside} - inside:
        inside |= more
    return inside


async def policy_of_endpoint(request: Request) -> Document:
    """GET /v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy: its own, else its region's for the service, else the service's."""
    db, key = request.cloud.db, request.params["endpoint_id"]
    endpoint = found(next((one for one in await all_endpoints(request, db) if one.id == key), None), "endpoint", key)
    policy_id = (
        await associated(db, (key, "", "")) or await _of_regions(db, endpoint) or await associated(db, ("", endpoint.service_id, ""))
    )
    policy = await POLICIES.get(db, policy_id) if policy_id else None
    if policy is None:
        raise NotFound(f"No policy is associated with endpoint {key}.")
    return {"policy": policy_document(request, policy)}


async def _of_regions(db: Reader, endpoint: Endpoint) -> str | None:
    region_id, seen = endpoint.region_id, set[str]()
    while region_id and region_id not in seen:
        seen.add(region_id)
        if policy_id := await associated(db, ("", endpoint.service_id, region_id)):
            return policy_id
        region = await REGIONS.get(db, region_id)
        region_id = region.parent_region_id if region else None
    return None
