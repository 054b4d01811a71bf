"""The compute service's table of routes."""

from pileus.api.compute import flavors, keypairs, server_create, servers, versions
from pileus.api.compute.history import HISTORY
from pileus.api.compute.policy import POLICY
from pileus.api.compute.server_bodies import CreateServer, UpdateServer
from pileus.api.faults import nova_fault
from pileus.api.request import Version
from pileus.api.routes import PUBLIC, Handler, Route, Service, route


def _(method: str, path: str, handler: Handler, policy: str, **rest: object) -> Route:
    return route(method, f"v2.1{path}", handler, policy if policy == PUBLIC else f"os_compute_api:{policy}", **rest)


OLD: Version = (2, 1)
ROUTES: list[Route] = [
    route("GET", "", versions.index, PUBLIC),
    _("GET", "", versions.show, PUBLIC),
    _("GET", "/extensions", versions.extensions, "extensions"),
    _("GET", "/extensions/{alias}", versions.extension, "extensions"),
    # flavors
    _("GET", "/flavors", flavors.index, "flavors:index", shape="flavors"),
    _("POST", "/flavors", flavors.create, "os-flavor-manage:create", shape="flavor", body=flavors.CreateFlavor),
    _("GET", "/flavors/detail", flavors.detail, "flavors:index", shape="flavors_detail"),
    _("GET", "/flavors/{flavor_id}", flavors.show, "flavors:show", shape="flavor"),
    _("PUT", "/flavors/{flavor_id}", flavors.update, "os-flavor-manage:update", shape="flavor", body=flavors.UpdateFlavor, since=(2, 55)),
    _("DELETE", "/flavors/{flavor_id}", flavors.delete, "os-flavor-manage:delete", success=202),
    _("POST", "/flavors/{flavor_id}/action", flavors.access_add, "os-flavor-access:add_tenant_access", action="addTenantAccess",
      body=flavors.AddAccess, since=(2, 7)),
    _("POST", "/flavors/{flavor_id}/action", flavors.access_add_any, "os-flavor-access:add_tenant_access", action="addTenantAccess",
      body=flavors.AddAccess, until=(2, 6)),
    _("POST", "/flavors/{flavor_id}/action", flavors.access_remove, "os-flavor-access:remove_tenant_access", action="removeTenantAccess",
      body=flavors.RemoveAccess),
    _("GET", "/flavors/{flavor_id}/os-flavor-access", flavors.access_index, "os-flavor-access"),
    _("GET", "/flavors/{flavor_id}/os-extra_specs", flavors.specs_index, "os-flavor-extra-specs:index"),
    _("POST", "/flavors/{flavor_id}/os-extra_specs", flavors.specs_create, "os-flavor-extra-specs:create", body=flavors.CreateSpecs),
    _("GET", "/flavors/{flavor_id}/os-extra_specs/{key}", flavors.specs_show, "os-flavor-extra-specs:show"),
    _("PUT", "/flavors/{flavor_id}/os-extra_specs/{key}", flavors.specs_update, "os-flavor-extra-specs:update", body=flavors.UpdateSpec),
    _("DELETE", "/flavors/{flavor_id}/os-extra_specs/{key}", flavors.specs_delete, "os-flavor-extra-specs:delete"),
    # keypairs
    _("GET", "/os-keypairs", keypairs.index, "os-keypairs:index", shape="keypairs"),
    _("POST", "/os-keypairs", keypairs.create, "os-keypairs:create", shape="keypair_create", body=keypairs.CreateKeypair, success=201,
      since=(2, 2)),
    _("POST", "/os-keypairs", keypairs.create, "os-keypairs:create", shape="keypair_create", body=keypairs.CreateKeypair, until=OLD),
    _("GET", "/os-keypairs/{name}", keypairs.show, "os-keypairs:show", shape="keypair"),
    _("DELETE", "/os-keypairs/{name}", keypairs.delete, "os-keypairs:delete", success=204, since=(2, 2)),
    _("DELETE", "/os-keypairs/{name}", keypairs.delete, "os-keypairs:delete", success=202, until=OLD),
    # servers
    _("GET", "/servers", servers.index, "servers:index", shape="servers"),
    _("POST", "/servers", server_create.create, "servers:create", shape="server_create", body=CreateServer),
    _("GET", "/servers/detail", servers.detail, "servers:detail", shape="servers_detail"),
    _("GET", "/servers/{server_id}", servers.show, "servers:show", shape="server"),
    _("PUT", "/servers/{server_id}", servers.update, "servers:update", shape="server_update", body=UpdateServer),
    _("DELETE", "/servers/{server_id}", servers.delete, "servers:delete", success=204),
]  # fmt: skip

SERVICE = Service(
    prefix="compute", name="nova", type="compute", endpoint="/v2.1", routes=ROUTES, policy=POLICY, fault=nova_fault, history=HISTORY
)
