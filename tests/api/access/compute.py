"""Who may use the routes of compute."""

from typing import Any

from pileus.api.compute.routes import ROUTES
from tests.api.access import ADMIN, MANAGERS, MEMBERS, READERS
from tests.api.compute.conftest import Compute
from tests.api.harness import TestCloud

OPEN = {"GET ", "GET v2.1"}

_EVERYBODY = """
extensions limits os-availability-zone:list os-keypairs:index os-keypairs:create os-keypairs:delete os-keypairs:show os-quota-sets:defaults
flavors:index flavors:show os-flavor-extra-specs:show os-flavor-extra-specs:index os-floating-ip-pools images:index
servers:index servers:detail servers:show
"""
_MEMBERS = """
servers:create servers:update servers:delete
"""
_ADMIN = """
os-flavor-manage:create os-flavor-manage:update os-flavor-manage:delete os-flavor-access os-flavor-access:add_tenant_access
os-flavor-access:remove_tenant_access os-flavor-extra-specs:create os-flavor-extra-specs:update os-flavor-extra-specs:delete
"""
_USED = {route.policy for route in ROUTES}
ACCESS = {
    f"os_compute_api:{name}": personas
    for names, personas in ((_EVERYBODY, READERS), (_MEMBERS, MEMBERS), ("", MANAGERS), (_ADMIN, ADMIN))
    for name in names.split()
    if f"os_compute_api:{name}" in _USED
}


def belongings(cloud: TestCloud) -> list[tuple[str, str, Any]]:
    """What is about a server of demo."""
    compute = Compute(cloud)
    path = f"/compute/v2.1/servers/{compute.create()}"
    return [
        ("GET", path, None),
        ("PUT", path, {"server": {"name": "stolen"}}),
        ("DELETE", path, None),
    ]
