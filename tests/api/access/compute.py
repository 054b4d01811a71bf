"""Who may use the routes of compute."""

from typing import Any

from pileus.api.compute.routes import ROUTES
from tests.api.access import ADMIN, MANAGERS, MEMBERS, READERS
from tests.api.compute.conftest import Compute
from tests.api.harness import TestCloud

OPEN = {"GET ", "GET v2", "GET v2.1"}

_READERS = """
extensions limits os-availability-zone:list os-keypairs:index os-keypairs:create os-keypairs:delete os-keypairs:show os-quota-sets:defaults
flavors:index flavors:show os-flavor-extra-specs:show os-flavor-extra-specs:index os-floating-ip-pools images:index images:show
os-networks:show os-tenant-networks:show os-security-groups:show os-floating-ips:show
servers:index servers:detail servers:show os-attach-interfaces:list os-attach-interfaces:show
os-instance-actions:list os-instance-actions:show
ips:show ips:index os-networks:list os-quota-sets:show os-quota-sets:detail os-security-groups:list os-security-groups:get
os-server-groups:index os-server-groups:show server-metadata:index server-metadata:show os-server-password:show os-server-shares:index
os-server-shares:show os-server-tags:index os-server-tags:show compute:server:topology:index os-simple-tenant-usage:show
os-volumes-attachments:index os-volumes-attachments:show os-floating-ips:list os-tenant-networks:list os-volumes:list
"""
_MEMBERS = """
servers:create servers:update servers:delete servers:start servers:stop servers:reboot servers:rebuild servers:create_image servers:resize
servers:confirm_resize servers:revert_resize servers:trigger_crash_dump os-pause-server:pause os-pause-server:unpause
os-suspend-server:suspend os-suspend-server:resume os-lock-server:lock os-lock-server:unlock os-console-output os-remote-consoles
os-security-groups:add os-security-groups:remove os-deferred-delete:force os-deferred-delete:restore os-admin-password os-rescue os-unrescue
os-shelve:shelve os-shelve:unshelve os-create-backup os-multinic:add os-multinic:remove os-floating-ips:add os-floating-ips:remove
server-metadata:create server-metadata:update_all server-metadata:update server-metadata:delete os-server-tags:update_all
os-server-tags:delete_all os-server-tags:update os-server-tags:delete os-attach-interfaces:create os-attach-interfaces:delete
os-volumes-attachments:create os-volumes-attachments:update os-volumes-attachments:delete os-server-password:clear os-server-shares:create
os-server-shares:delete os-server-groups:create os-server-groups:delete
images:update images:delete os-floating-ips:create os-floating-ips:delete
os-security-groups:create os-security-groups:update os-security-groups:delete os-security-groups:rule:create
os-security-groups:rule:delete
"""
_MANAGERS = """
os-migrate-server:migrate os-migrate-server:migrate_live os-migrations:index servers:migrations:index servers:migrations:delete
servers:migrations:force_complete
"""
_ADMIN = """
os-flavor-manage:create os-flavor-manage:update os-flavor-manage:delete os-flavor-access os-flavor-access:add_tenant_access
os-flavor-access:remove_tenant_access os-flavor-extra-specs:create os-flavor-extra-specs:update os-flavor-extra-specs:delete
os-admin-actions:inject_network_info
os-admin-actions:reset_state os-shelve:shelve_offload os-evacuate os-server-diagnostics servers:migrations:show
servers:migrations:forecast os-quota-sets:update
os-quota-sets:delete os-quota-class-sets:show os-quota-class-sets:update os-simple-tenant-usage:list os-hypervisors:list
os-hypervisors:list-detail os-hypervisors:statistics os-hypervisors:show os-hypervisors:uptime os-hypervisors:search os-hypervisors:servers
os-services:list os-services:update os-services:delete os-availability-zone:detail os-aggregates:index os-aggregates:create
os-aggregates:show os-aggregates:update os-aggregates:delete os-aggregates:add_host os-aggregates:remove_host os-aggregates:set_metadata
compute:aggregates:images os-console-auth-tokens os-baremetal-nodes:list os-hosts:list os-hosts:show os-hosts:update os-hosts:start
os-hosts:shutdown os-hosts:reboot
os-assisted-volume-snapshots:create os-assisted-volume-snapshots:delete os-server-external-events:create
os-instance-usage-audit-log:list os-instance-usage-audit-log:show os-cells
"""
ACCESS = {
    name if name.startswith("compute:") else f"os_compute_api:{name}": personas
    for names, personas in ((_READERS, READERS), (_MEMBERS, MEMBERS), (_MANAGERS, MANAGERS), (_ADMIN, ADMIN))
    for name in names.split()
}


def belongings(cloud: TestCloud) -> list[tuple[str, str, Any]]:
    """Every route about a server of demo, and its group and its project's quota."""
    compute = Compute(cloud)
    server = compute.create()
    body = {"server_group": {"name": "one", "policy": "affinity"}}
    group = compute.call("POST", "/os-server-groups", body).json["server_group"]["id"]
    project = cloud.project_id("demo")
    values = {"{server_id}": server, "{group_id}": group, "{project_id}": project}
    found: list[tuple[str, str, Any]] = []
    for route in ROUTES:
        owner = next((name for name in values if name in route.path), None)
        if owner is None or "defaults" in route.path or route.until is not None or route.since is not None:
            continue
        path = route.path.replace(owner, values[owner])
        path = "/".join("x1" if part.startswith("{") else part for part in path.split("/"))
        found.append(
            (route.method, f"/compute/{path}", BODIES.get(route.action or route.path, {route.action: None} if route.action else {}))
        )
    return found


BODIES: dict[str, Any] = {
    "v2.1/servers/{server_id}": {"server": {"name": "stolen"}},
    "v2.1/servers/{server_id}/metadata": {"metadata": {"a": "b"}},
    "v2.1/servers/{server_id}/metadata/{key}": {"meta": {"x1": "b"}},
    "reboot": {"reboot": {"type": "HARD"}},
    "rebuild": {"rebuild": {"imageRef": "00000000-0000-0000-0000-000000000000"}},
    "resize": {"resize": {"flavorRef": "2"}},
    "createImage": {"createImage": {"name": "stolen"}},
    "os-getConsoleOutput": {"os-getConsoleOutput": {}},
    "os-resetState": {"os-resetState": {"state": "active"}},
    "addSecurityGroup": {"addSecurityGroup": {"name": "default"}},
    "removeSecurityGroup": {"removeSecurityGroup": {"name": "default"}},
    "v2.1/os-quota-sets/{project_id}": {"quota_set": {}},
}
