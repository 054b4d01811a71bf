"""The world that `verify` looks at, read from a real store: each reference that leads nowhere is found, each repair heals what it says."""

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pileus.core.verify import INVARIANTS, Breach, examine
from pileus.core.verify.references import REFERENCES
from pileus.core.verify.repairs import DeleteRow, RemoveContent
from pileus.model.verification import NamedBreach, Verification
from pileus.store import verifications
from pileus.store.actions import ACTIONS
from pileus.store.aggregates import AGGREGATES
from pileus.store.allocations import CONSUMERS
from pileus.store.application_credentials import APPLICATION_CREDENTIALS
from pileus.store.database import Database, Transaction
from pileus.store.floating_ips import FLOATING_IPS
from pileus.store.groups import GROUPS
from pileus.store.hosts import HOSTS
from pileus.store.image_tasks import IMAGE_TASKS
from pileus.store.images import IMAGES
from pileus.store.migration_records import MIGRATIONS
from pileus.store.networks import NETWORKS, RBAC_POLICIES
from pileus.store.ports import PORTS
from pileus.store.projects import PROJECTS
from pileus.store.providers import PROVIDERS
from pileus.store.repairs import carry_out
from pileus.store.roles import ROLES
from pileus.store.routers import ROUTERS
from pileus.store.schema import migrate, migrations
from pileus.store.security_groups import RULES, SECURITY_GROUPS
from pileus.store.servers import SERVERS
from pileus.store.sqlite import SqliteDatabase
from pileus.store.subnet_pools import SUBNET_POOLS
from pileus.store.subnets import SUBNETS
from pileus.store.trusts import TRUSTS
from pileus.store.users import USERS
from pileus.store.world import gather, pages
from tests.store.conftest import store_at
from tests.unit.core.verify.test_proofs import ACTION
from tests.unit.core.verify.whole import PORTS as SOME_PORTS
from tests.unit.core.verify.whole import WHOLE, move, port

T = TypeVar("T")
TABLES: list[tuple[Any, Sequence[Any]]] = [
    (PROJECTS, WHOLE.projects), (USERS, WHOLE.users), (GROUPS, WHOLE.groups), (ROLES, WHOLE.roles), (TRUSTS, WHOLE.trusts),
    (APPLICATION_CREDENTIALS, WHOLE.application_credentials), (NETWORKS, WHOLE.networks), (SUBNET_POOLS, WHOLE.subnet_pools),
    (SUBNETS, WHOLE.subnets), (RBAC_POLICIES, WHOLE.rbac_policies), (SECURITY_GROUPS, WHOLE.security_groups), (RULES, WHOLE.rules),
    (PORTS, WHOLE.ports), (ROUTERS, WHOLE.routers), (FLOATING_IPS, WHOLE.floating_ips), (IMAGES, WHOLE.images),
    (IMAGE_TASKS, WHOLE.image_tasks), (HOSTS, WHOLE.hosts), (AGGREGATES, WHOLE.aggregates), (PROVIDERS, WHOLE.providers),
    (CONSUMERS, WHOLE.consumers), (SERVERS, WHOLE.servers), (ACTIONS, [ACTION]),
]  # fmt: skip
ASSIGN = "INSERT INTO assignments (actor, actor_id, target, target_id, role_id, inherited) VALUES"
PROVIDER_OF_USERS = (
    "INSERT INTO identity_providers (id, created_at, updated_at, generation, domain_id, enabled, remote_ids)"
    " VALUES ('i', 1, 1, 0, 'default', 1, '[]')"
)
REGION = "INSERT INTO regions (id, created_at, updated_at, generation, description, parent_region_id, extra) VALUES"
ALSO = [
    "INSERT INTO allocations (consumer_id, provider_id, resources, created_at) "
    "VALUES ('s1', 'rp-h1', '{\"VCPU\": 1, \"MEMORY_MB\": 128}', 1)",
    "UPDATE placement_epoch SET value = 3",
    "INSERT INTO address_cursors (subnet_id, place) VALUES ('sub1', 3)",
    "INSERT INTO port_security_groups (port_id, security_group_id) VALUES ('port1', 'sg1')",
    "INSERT INTO network_tags (resource_id, tag) VALUES ('n1', 'blue')",
    "INSERT INTO image_tags (image_id, tag) VALUES ('i1', 'gold')",
    "INSERT INTO image_properties (image_id, name, value) VALUES ('i1', 'os', 'debian')",
    "INSERT INTO implied_roles (prior_id, implied_id) VALUES ('admin', 'member')",
    "INSERT INTO access_rules (id, created_at, updated_at, generation, user_id, service, method, path) "
    "VALUES ('ar1', 1, 1, 0, 'u1', 'a', 'GET', '/')",
    f"{REGION} ('RegionOne', 1, 1, 0, '', NULL, '{{}}')",
    f"{REGION} ('Below', 1, 1, 0, '', 'RegionOne', '{{}}')",
    "INSERT INTO quotas (project_id, resource, limit_value) VALUES ('p1', 'instances', 5)",
    "INSERT INTO server_groups (id, created_at, updated_at, generation, project_id, user_id, name, policy, rules) "
    "VALUES ('g', 1, 1, 0, 'p1', 'u1', 'g', 'affinity', '{}')",
    "INSERT INTO server_group_members (server_id, group_id) VALUES ('s1', 'g')",
    f"{ASSIGN} ('user', 'u1', 'project', 'p1', 'member', 0)",
    f"{ASSIGN} ('group', 'g1', 'domain', 'default', 'member', 1)",
    f"{ASSIGN} ('user', 'u1', 'system', 'all', 'admin', 0)",
]
CATALOG = (
    "INSERT INTO catalog_endpoints (id, created_at, updated_at, generation, service_id, interface, url, region_id, enabled, extra) VALUES"
)
SERVICE = (
    "INSERT INTO catalog_services (id, created_at, updated_at, generation, type, name, description, enabled, extra) "
    "VALUES ('cs', 1, 1, 0, 't', 'n', '', 1, '{}')"
)
LIMIT = (
    "INSERT INTO unified_limits (id, created_at, updated_at, generation, registered_limit_id, project_id, domain_id, resource_limit) VALUES"
)
REGISTERED = (
    "INSERT INTO registered_limits (id, created_at, updated_at, generation, service_id, resource_name, default_limit)"
    " VALUES ('r', 1, 1, 0, 's', 'n', 5)"
)
ACCESS = (
    "INSERT INTO oauth_access_tokens (id, created_at, updated_at, generation, consumer_id, project_id, user_id, role_ids, sealed_secret,"
    " expires_at) VALUES"
)
CONSUMER_OF_OAUTH = (
    "INSERT INTO oauth_consumers (id, created_at, updated_at, generation, sealed_secret, extra) VALUES ('c', 1, 1, 0, '', '{}')"
)
DANGLING: dict[str, list[str]] = {
    "servers_have_actions": ["DELETE FROM server_actions"],
    "actions_have_servers": [
        "INSERT INTO server_actions (id, server_id, request_id, action, started_at, updated_at) VALUES ('x', 'gone', 'r', 'stop', 1, 1)"
    ],
    "steps_have_actions": ["INSERT INTO server_action_events (id, action_id, event, started_at) VALUES ('x', 'gone', 'e', 1)"],
    "decisions_have_servers": ["INSERT INTO placement_decisions (id, server_id, created_at, decision) VALUES ('x', 'gone', 1, '{}')"],
    "members_have_groups": ["UPDATE server_group_members SET group_id = 'gone'"],
    "members_have_servers": ["INSERT INTO server_group_members (server_id, group_id) VALUES ('gone', 'g')"],
    "device_tags_have_servers": ["INSERT INTO device_tags (port_id, server_id, tag) VALUES ('port1', 'gone', 't')"],
    "console_tokens_have_servers": [
        "INSERT INTO console_tokens (id, server_id, host, kind, created_at, expires_at) VALUES ('x', 'gone', 'h1', 'vnc', 1, 2)"
    ],
    "accesses_have_flavors": ["INSERT INTO flavor_access (flavor_id, project_id) VALUES ('gone', 'p1')"],
    "subnets_have_their_pools": ["UPDATE subnets SET subnetpool_id = 'gone' WHERE id = 'subext'"],
    "assignments_have_roles": [f"{ASSIGN} ('user', 'u1', 'project', 'p1', 'gone', 0)"],
    "assignments_have_users": [f"{ASSIGN} ('user', 'gone', 'project', 'p1', 'member', 0)"],
    "assignments_have_groups": [f"{ASSIGN} ('group', 'gone', 'project', 'p1', 'member', 0)"],
    "assignments_have_targets": [f"{ASSIGN} ('user', 'u1', 'project', 'gone', 'member', 0)"],
    "memberships_have_groups": ["INSERT INTO group_members (group_id, user_id) VALUES ('gone', 'u1')"],
    "memberships_have_users": ["INSERT INTO group_members (group_id, user_id) VALUES ('g1', 'gone')"],
    "implications_have_priors": ["INSERT INTO implied_roles (prior_id, implied_id) VALUES ('gone', 'member')"],
    "implications_have_roles": ["INSERT INTO implied_roles (prior_id, implied_id) VALUES ('admin', 'gone')"],
    "application_credentials_have_users": ["UPDATE application_credentials SET user_id = 'gone'"],
    "application_credentials_have_projects": ["UPDATE application_credentials SET project_id = 'gone'"],
    "credentials_have_users": [
        "INSERT INTO credentials (id, created_at, updated_at, generation, user_id, project_id, type, sealed_blob, extra) "
        "VALUES ('x', 1, 1, 0, 'gone', NULL, 'ec2', '', '{}')"
    ],
    "access_rules_have_users": ["UPDATE application_credentials SET access_rule_ids = NULL", "UPDATE access_rules SET user_id = 'gone'"],
    "trusts_have_trustors": ["UPDATE trusts SET trustor_user_id = 'gone' WHERE id = 't2'"],
    "trusts_have_trustees": ["UPDATE trusts SET trustee_user_id = 'gone' WHERE id = 't2'"],
    "trusts_have_projects": ["UPDATE trusts SET project_id = 'gone', redelegated_trust_id = NULL WHERE id = 't2'"],
    "old_passwords_have_users": ["INSERT INTO password_history (user_id, set_at, password_hash) VALUES ('gone', 1.5, '')"],
    "endpoints_have_services": [f"{CATALOG} ('x', 1, 1, 0, 'gone', 'public', 'u', NULL, 1, '{{}}')"],
    "endpoints_have_regions": [SERVICE, f"{CATALOG} ('x', 1, 1, 0, 'cs', 'public', 'u', 'gone', 1, '{{}}')"],
    "regions_have_parents": ["UPDATE regions SET parent_region_id = 'gone' WHERE id = 'Below'"],
    "passcodes_have_credentials": ["INSERT INTO passcode_uses (credential_id, step) VALUES ('gone', 1)"],
    "access_tokens_have_consumers": [f"{ACCESS} ('x', 1, 1, 0, 'gone', 'p1', 'u1', '[]', '', 9)"],
    "access_tokens_have_users": [CONSUMER_OF_OAUTH, f"{ACCESS} ('x', 1, 1, 0, 'c', 'p1', 'gone', '[]', '', 9)"],
    "request_tokens_have_consumers": [
        "INSERT INTO oauth_request_tokens (id, created_at, updated_at, generation, consumer_id, project_id, sealed_secret, expires_at,"
        " role_ids) VALUES ('x', 1, 1, 0, 'gone', 'p1', '', 9, '[]')"
    ],
    "identity_providers_have_domains": [
        "INSERT INTO identity_providers (id, created_at, updated_at, generation, domain_id, enabled, remote_ids)"
        " VALUES ('x', 1, 1, 0, 'gone', 1, '[]')"
    ],
    "protocols_have_identity_providers": [
        "INSERT INTO federation_protocols (id, created_at, updated_at, generation, idp_id, name, mapping_id)"
        " VALUES ('x', 1, 1, 0, 'gone', 'x', 'm')"
    ],
    "openid_settings_have_protocols": [
        "INSERT INTO openid_settings (id, created_at, updated_at, generation, issuer, client_id, audiences, algorithms, scopes, userinfo)"
        " VALUES ('x/gone', 1, 1, 0, 'https://x', 'c', '[]', '[]', '[]', 0)"
    ],
    "federated_users_have_users": [
        PROVIDER_OF_USERS,
        "INSERT INTO federated_users (idp_id, protocol_id, unique_id, user_id, shadow) VALUES ('i', 'p', 'x', 'gone', 1)",
    ],
    "federated_users_have_providers": [
        "INSERT INTO federated_users (idp_id, protocol_id, unique_id, user_id, shadow) VALUES ('gone', 'p', 'x', 'u1', 1)"
    ],
    "expiring_memberships_have_users": [
        "INSERT INTO expiring_memberships (user_id, group_id, idp_id, expires_at) VALUES ('gone', 'g1', 'i', 1)"
    ],
    "expiring_memberships_have_groups": [
        "INSERT INTO expiring_memberships (user_id, group_id, idp_id, expires_at) VALUES ('u1', 'gone', 'i', 1)"
    ],
    "associations_have_policies": [
        "INSERT INTO policy_associations (endpoint_id, service_id, region_id, policy_id) VALUES ('e', '', '', 'x')"
    ],
    "options_have_domains": ["INSERT INTO domain_options (domain_id, section, option, value) VALUES ('gone', 'ldap', 'url', '1')"],
    "limits_are_registered": [f"{LIMIT} ('x', 1, 1, 0, 'gone', 'p1', NULL, 5)"],
    "limits_have_projects": [REGISTERED, f"{LIMIT} ('x', 1, 1, 0, 'r', 'gone', NULL, 5)"],
    "limits_have_domains": [REGISTERED, f"{LIMIT} ('x', 1, 1, 0, 'r', NULL, 'gone', 5)"],
    "project_endpoints_have_projects": ["INSERT INTO project_endpoints (project_id, endpoint_id) VALUES ('gone', 'e')"],
    "endpoint_groups_have_projects": [
        "INSERT INTO endpoint_groups (id, created_at, updated_at, generation, name, filters) VALUES ('e', 1, 1, 0, 'e', '{}')",
        "INSERT INTO endpoint_group_projects (endpoint_group_id, project_id) VALUES ('e', 'gone')",
    ],
    "endpoint_groups_are_there": ["INSERT INTO endpoint_group_projects (endpoint_group_id, project_id) VALUES ('gone', 'p1')"],
}
"""What breaks each reference on its own."""

CONSUMER = "INSERT INTO consumers (id, created_at, updated_at, generation, project_id, user_id, consumer_type) VALUES"
HOLD = "INSERT INTO allocations (consumer_id, provider_id, resources, created_at) VALUES"
REST: dict[str, list[str]] = {
    "states_follow": ["UPDATE servers SET task_state = 'rebooting'"],
    "next_steps_follow": ["UPDATE servers SET next_step = 'apply'"],
    "servers_migrations_are_alive": [
        "UPDATE servers SET migration = 'gone', status = 'MIGRATING', task_state = 'migrating', next_step = 'nothing'"
    ],
    "ended_moves_keep_no_keys": ["UPDATE server_migrations SET keys = 'sealed'"],
    "ports_move_with_servers": ["UPDATE ports SET migrating_to = 'h2' WHERE id = 'port1'"],
    "allocations_have_consumers": [
        f"{CONSUMER} ('s0', 1, 1, 0, 'p1', 'u1', 'INSTANCE')",
        f"{HOLD} ('s0', 'rp-h2', '{{\"VCPU\": 1}}', 1)",
        "UPDATE resource_providers SET used = '{\"VCPU\": 1}' WHERE id = 'rp-h2'",
    ],
    "ended_moves_hold_nothing": [
        f"{CONSUMER} ('m1', 1, 1, 0, 'p1', 'u1', 'MIGRATION')",
        f"{HOLD} ('m1', 'rp-h2', '{{\"VCPU\": 1}}', 1)",
        "UPDATE resource_providers SET used = '{\"VCPU\": 1}' WHERE id = 'rp-h2'",
    ],
    "usage_is_the_sum": ["UPDATE resource_providers SET used = '{\"VCPU\": 3}' WHERE id = 'rp-h1'"],
    "consumers_hold_something": [f"{CONSUMER} ('idle', 1, 1, 0, 'p1', 'u1', 'INSTANCE')"],
    "epoch_is_the_newest": ["UPDATE placement_epoch SET value = 1"],
    "aggregates_are_in_placement": ["UPDATE resource_providers SET aggregates = '[]' WHERE id = 'rp-h1'"],
    "aggregates_have_hosts": ['UPDATE aggregates SET hosts = \'["h1", "gone"]\''],
    "application_credentials_give_known_roles": ['UPDATE application_credentials SET role_ids = \'["gone", "member"]\''],
    "limits_are_sound": ["INSERT INTO quotas (project_id, resource, limit_value) VALUES ('p1', 'dreams', 5)"],
    "cursors_pass_over_nothing_free": ["UPDATE address_cursors SET place = 9"],
    "tags_are_indexed": ["DELETE FROM network_tags", "INSERT INTO network_tags (resource_id, tag) VALUES ('gone', 'red')"],
    "addresses_are_taken": ["DELETE FROM addresses WHERE port_id = 'port1'"],
    "taken_addresses_are_used": [
        "INSERT INTO addresses (subnet_id, ip_address, place, port_id, network_id) VALUES ('sub1', '10.0.0.7', 7, 'port1', 'n1')"
    ],
    "memberships_follow_ports": ["DELETE FROM port_security_groups"],
    "images_are_indexed": ["DELETE FROM image_tags"],
}
"""What breaks each of the others that can be repaired."""

ELSEWHERE = {"contents_have_images", "allocations_are_of_providers"}
"""A file, which tests/unit/cli/test_verify.py removes; and what only a damaged database can hold (below)."""


async def fill(tx: Transaction) -> None:
    """Write the whole world."""
    for table, rows in TABLES:
        for row in rows:
            await table.insert(tx, row)
    await SERVERS.insert(tx, msgspec.structs.replace(WHOLE.servers[0], id="s0", removed_at=2.0, observed=None))
    await MIGRATIONS.insert(tx, move(step="done"))
    for one in WHOLE.taken:
        network = {held.id: held.network_id for held in SOME_PORTS}[one.port_id]
        values = (one.subnet_id, one.ip_address, one.place, one.port_id, network)
        await tx.execute("INSERT INTO addresses (subnet_id, ip_address, place, port_id, network_id) VALUES (?, ?, ?, ?, ?)", *values)
    for statement in ALSO:
        await tx.execute(statement)


async def empty(tx: Transaction) -> None:
    """Forget everything."""
    made = re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", "\n".join(sql for _, sql in migrations()))
    for name in reversed(made):  # what refers to another was made after it
        if name != "placement_epoch":  # whose only row is there from the beginning
            await tx.execute(f"DELETE FROM {name}")


def with_world(tmp_path: Path, work: Callable[[Database], Awaitable[T]]) -> T:
    """Run a coroutine on a store in which everything is well."""

    async def run() -> T:
        (tmp_path / "images").mkdir()
        (tmp_path / "images" / ("a" * 64)).write_bytes(b"0123456789")
        db = store_at(tmp_path)
        await migrate(db)
        try:
            await db.write(fill)
            return await work(db)
        finally:
            await db.close()

    return asyncio.run(run())


async def found(db: Database, tmp_path: Path) -> list[Breach]:
    """All that is broken."""
    return examine(await gather(db, {"local": tmp_path / "images"}))


async def do(db: Database, statements: list[str]) -> None:
    """Break something."""

    async def work(tx: Transaction) -> None:
        for one in statements:
            await tx.execute(one)

    await db.write(work)


def test_a_whole_store_has_no_breach(tmp_path: Path) -> None:
    assert with_world(tmp_path, lambda db: found(db, tmp_path)) == []


def test_every_repair_and_every_reference_is_proven_on_a_store() -> None:
    assert {one.name for one in REFERENCES} - {"moves_have_records_of_servers"} == DANGLING.keys()
    assert {one.name for one in INVARIANTS if one.repairable} <= DANGLING.keys() | REST.keys() | ELSEWHERE


def test_whatever_is_broken_is_found_and_nothing_else_and_a_repair_heals_it(tmp_path: Path) -> None:
    """One after the other in one store, filled anew for each; what went wrong is told by the invariant's name."""

    async def work(db: Database) -> dict[str, str]:
        wrong: dict[str, str] = {}
        for name, statements in {**DANGLING, **REST}.items():
            await db.write(empty)
            await db.write(fill)
            await do(db, statements)
            if reason := await _healed(db, name, tmp_path):
                wrong[name] = reason
        return wrong

    assert with_world(tmp_path, work) == {}


async def _healed(db: Database, name: str, tmp_path: Path) -> str:
    """Why not; empty when it was found, and mended where that is possible."""
    broken = await found(db, tmp_path)
    if {one.name for one in broken} != {name}:
        return f"found: {broken}"
    repairs = [one.repair for one in broken if one.repair is not None and not isinstance(one.repair, RemoveContent)]
    [rule] = [one for one in INVARIANTS if one.name == name]
    if bool(repairs) != rule.repairable:
        return f"repairs: {repairs}"
    for turn in ("once", "and once more"):
        await db.write(lambda tx: carry_out(tx, repairs))
        if repairs and (left := await found(db, tmp_path)):
            return f"left after it was repaired {turn}: {left}"
    return "" if all(one.sentence() for one in repairs) else "a repair without a sentence"


def test_a_migration_without_a_server_is_found(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        await do(db, ["UPDATE server_migrations SET step = 'clean', server_id = 'gone'"])
        assert {one.name for one in await found(db, tmp_path)} == {"moves_have_records_of_servers"}

    with_world(tmp_path, work)


def test_an_allocation_of_a_provider_that_is_gone_is_repaired(tmp_path: Path) -> None:
    """The database itself refuses that: it is written past its guards, as by a damaged file."""

    async def work(db: Database) -> None:
        rows = [f"{CONSUMER} ('x', 1, 1, 0, 'p1', 'u1', 'DISK')", f"{HOLD} ('x', 'gone', '{{\"VCPU\": 1}}', 1)"]
        if isinstance(db, SqliteDatabase):
            with sqlite3.connect(db.path) as plain:
                for one in rows:
                    plain.execute(one)
            plain.close()
        else:
            await do(db, ["ALTER TABLE allocations DROP CONSTRAINT allocations_provider_id_fkey", *rows])
        broken = await found(db, tmp_path)
        assert [one.name for one in broken] == ["allocations_are_of_providers"]
        await db.write(lambda tx: carry_out(tx, [broken[0].repair]))  # type: ignore[list-item]
        left = await found(db, tmp_path)
        assert [one.name for one in left] == ["consumers_hold_something"]
        await db.write(lambda tx: carry_out(tx, [left[0].repair]))  # type: ignore[list-item]
        assert await found(db, tmp_path) == []

    with_world(tmp_path, work)


UNSEEN = {
    "admissions": "keys of hosts, each on its own",
    "deleted_images": "what is shown of images that are gone",
    "idempotency_answers": "answers for a repeated request, for a day",
    "image_members": "the database itself keeps them with their images",
    "join_tokens": "each on its own, for a while",
    "keypairs": "they stay when their user goes, as in Nova",
    "used_sign_ins": "logins by browser that have ended, for a while",
    "login_failures": "a count for a user's name",
    "directory_ids": "what ids were made of, each on its own",
    "federation_mappings": "documents; a protocol whose mapping is gone lets nobody in, as in Keystone",
    "service_providers": "documents, each on its own",
    "quota_sources": "settings, as the process that started last was given them",
    "oauth_nonces": "numbers that were seen once, for a while",
    "metadef_items": "the database itself keeps them with their namespaces",
    "metadef_namespaces": "documents, each on its own",
    "revocation_events": "they outlive what they are about",
    "router_hosts": "what a host that is silent carries is tidied up when it is back",
    "shared_keys": "secrets of the cloud, each on its own",
    "verifications": "what this found",
}
"""Tables that no invariant looks at, and why."""


def test_every_table_is_looked_at_or_it_is_said_why_not(tmp_path: Path) -> None:
    """Whoever adds a table adds what must be true of it."""

    async def work(db: Database) -> set[str]:
        asked: list[str] = []
        real = db.all

        async def listen(sql: str, *args: Any) -> Any:
            asked.append(sql)
            return await real(sql, *args)

        async def write(inner: Any) -> Any:
            return await real_write(lambda tx: inner(Listening(tx, asked)))

        real_write = db.write
        real_value = db.value

        async def value(sql: str, *args: Any) -> Any:
            asked.append(sql)
            return await real_value(sql, *args)

        db.all, db.value, db.write = listen, value, write  # type: ignore[method-assign]
        await gather(db, {"local": tmp_path / "images"})
        return {name for sql in asked for name in re.findall(r"(?:FROM|JOIN) (\w+)", sql)}

    made = set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", "\n".join(sql for _, sql in migrations())))
    looked_at = with_world(tmp_path, work)
    assert made - looked_at - UNSEEN.keys() == set()
    assert UNSEEN.keys() & looked_at == set()
    assert UNSEEN.keys() - made == set()


class Listening:
    """A transaction that notes what is asked of it."""

    def __init__(self, tx: Transaction, asked: list[str]) -> None:
        self.tx = tx
        self.asked = asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tx, name)

    async def all(self, sql: str, *args: Any) -> Any:
        """Every row."""
        self.asked.append(sql)
        return await self.tx.all(sql, *args)


def test_a_row_that_is_well_by_now_is_not_deleted(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        key = (("actor", "user"), ("actor_id", "u1"), ("target", "project"), ("target_id", "p1"), ("role_id", "member"), ("inherited", 0))
        repairs = [
            DeleteRow(table="assignments", key=key, why="it was thought to lead nowhere"),
            DeleteRow(table="consumers", key=(("id", "s1"),), why="it was thought to hold nothing"),
            DeleteRow(table="trusts", key=(("id", "t1"),), why="it was thought to lead nowhere"),
        ]
        await db.write(lambda tx: carry_out(tx, repairs))
        assert await found(db, tmp_path) == []
        assert await db.value("SELECT count(*) FROM assignments") == 3
        assert await db.value("SELECT count(*) FROM trusts") == 2

    with_world(tmp_path, work)


def test_many_rows_are_read_page_by_page(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        many = [port(f"p{one:05}", "n1", 0) for one in range(1203)]
        many = [msgspec.structs.replace(one, mac_address=f"{index:012x}") for index, one in enumerate(many)]
        await db.write(lambda tx: PORTS.insert_many(tx, many))
        rests = 0

        async def pause() -> None:
            nonlocal rests
            rests += 1

        rows = await pages(db, PORTS, pause, "id LIKE 'p0%'")
        assert [one.id for one in rows] == [one.id for one in many]
        assert rests == 3

    with_world(tmp_path, work)


def test_the_newest_result_of_each_cluster_is_kept(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        first = Verification(cluster="default", at=1.0, invariants=9, breaches=[NamedBreach(name="a", evidence="b", repairable=True)])
        for one in (first, msgspec.structs.replace(first, cluster="west"), msgspec.structs.replace(first, at=2.0, breaches=[])):
            await db.write(lambda tx, one=one: verifications.keep(tx, one))  # type: ignore[misc]
        assert [(one.cluster, one.at, len(one.breaches)) for one in await verifications.newest(db)] == [
            ("default", 2.0, 0),
            ("west", 1.0, 1),
        ]

    with_world(tmp_path, work)
