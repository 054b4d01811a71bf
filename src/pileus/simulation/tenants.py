"""What a life begins with: flavors, an image, and for each customer a project with a user, quotas and a network."""

import random
from typing import Any

from pileus.core.disk_headers import empty_qcow2
from pileus.simulation.customers import NETWORK, Api, Customer, User
from pileus.simulation.ledger import Ledger

PASSWORD = "a password of a simulated customer"  # noqa: S105 nobody but the simulation has it
FLAVORS = (("small", 1, 512, 1), ("medium", 2, 2048, 4), ("large", 8, 16384, 40))
IMAGE = 1 << 20


async def furnish(api: Api, admin: User, customers: int, wants: int, seed: int) -> list[Customer]:
    """The customers, each with what it needs."""
    for name, vcpus, ram, disk in FLAVORS:
        flavor = {"id": name, "name": name, "vcpus": vcpus, "ram": ram, "disk": disk}
        await _made(admin, "/compute/v2.1/flavors", {"flavor": flavor})
    fields = {"name": "linux", "disk_format": "qcow2", "container_format": "bare", "visibility": "public"}
    image = (await _made(admin, "/image/v2/images", fields))["id"]
    await _done(admin, "PUT", f"/image/v2/images/{image}/file", empty_qcow2(IMAGE))
    [role] = (await admin.get("/identity/v3/roles?name=member"))["roles"]
    ledger = Ledger()
    made: list[Customer] = []
    for number in range(1, customers + 1):
        user = await _tenant(api, admin, f"customer{number:02d}", role["id"], wants)
        source = random.Random(f"customer {seed} {number}")
        customer = Customer(user, admin, ledger, source, wants)
        customer.image, customer.flavors = image, [name for name, *_ in FLAVORS]
        customer.network = (await _made(user, f"{NETWORK}/networks", {"network": {"name": "private"}}))["network"]["id"]
        subnet = {"network_id": customer.network, "cidr": f"10.{number % 250}.0.0/20", "ip_version": 4}
        await _made(user, f"{NETWORK}/subnets", {"subnet": subnet})
        made.append(customer)
    return made


async def _tenant(api: Api, admin: User, name: str, role: str, wants: int) -> User:
    """Quotas allow a little less than is wanted: some requests are refused for that."""
    project = (await _made(admin, "/identity/v3/projects", {"project": {"name": name, "domain_id": "default"}}))["project"]["id"]
    fields = {"name": name, "domain_id": "default", "password": PASSWORD, "default_project_id": project}
    user = (await _made(admin, "/identity/v3/users", {"user": fields}))["user"]["id"]
    await _done(admin, "PUT", f"/identity/v3/projects/{project}/users/{user}/roles/{role}", None)
    most = max(1, round(wants * 0.9))
    quotas = {"instances": most, "cores": most * 6, "ram": most * 12000}
    await _done(admin, "PUT", f"/compute/v2.1/os-quota-sets/{project}", {"quota_set": quotas})
    await _done(admin, "PUT", f"{NETWORK}/quotas/{project}", {"quota": {"port": most * 3}})
    return User(api, name, PASSWORD, name)


async def _made(user: User, path: str, document: Any) -> Any:
    return await _done(user, "POST", path, document)


async def _done(user: User, method: str, path: str, document: Any) -> Any:
    answer = await user.call(method, path, document)
    if answer.status is None or not 200 <= answer.status < 300:
        raise AssertionError(f"{method} {path} was answered by {answer.status}: {answer.document}")
    return answer.document
