"""Nova's microversions, newest first, each with what it changed.

Those without transforms changed which routes or queries exist, or nothing here.
"""

from pileus.api.compute import transforms as t
from pileus.api.request import Version
from pileus.api.versions import Change, History, Transform

ONE = ("server", "server_update", "rebuild")
ALL = (*ONE, "servers_detail")


def _servers(transform: Transform, shapes: tuple[str, ...] = ALL) -> dict[str, Transform]:
    return dict.fromkeys(shapes, transform)


def _change(minor: int, text: str, responses: dict[str, Transform] | None = None, requests: dict[str, Transform] | None = None) -> Change:
    version: Version = (2, minor)
    return Change(version=version, text=text, responses=responses or {}, requests=requests or {})


FLAVORS = ("flavor", "flavors_detail")
HYPERVISORS = ("hypervisor", "hypervisors", "hypervisors_detail")
DETAILED = ("hypervisor", "hypervisors_detail")
GROUPS = ("server_group", "server_groups")
MIGRATIONS = ("migrations", "server_migrations")
FILES = {
    "quota_set": t.with_quotas(t.FILE_QUOTAS), "quota_set_detail": t.with_quotas(t.FILE_QUOTAS, True),
    "quota_class_set": t.with_quotas(t.FILE_QUOTAS), "limits": t.absolute(t.PERSONALITY_LIMITS),
}  # fmt: skip
NETWORKS = {
    "quota_set": t.with_quotas(t.NETWORK_QUOTAS), "quota_set_detail": t.with_quotas(t.NETWORK_QUOTAS, True),
    "limits": t.absolute(t.NETWORK_LIMITS),
}  # fmt: skip

CHANGES = [
    _change(
        104,
        "PUT /servers/{id} pins a server to its availability zone or unpins it.",
        requests={"server_update": t.refuse("server", "pinned_availability_zone")},
    ),
    _change(103, "The alias /os-volumes_boot is gone."),
    _change(
        102,
        "Flavors are filtered by name and lose rxtx_factor and OS-FLV-DISABLED:disabled; unknown query parameters are refused everywhere.",
        responses=dict.fromkeys(FLAVORS, t.edit(t.flavor_as_it_was)),
        requests={"flavor": t.factor},
    ),
    _change(101, "Attaching a volume answers 202 without waiting for a device name."),
    _change(100, "Servers show the scheduler hints they were created with.", responses=_servers(t.drop("scheduler_hints"))),
    _change(99, "The console type spice-direct; console tokens show a TLS port.", {"console_token": t.drop("tls_port")}),
    _change(98, "Servers show the properties of their image.", responses=_servers(t.edit(t.image_without_properties))),
    _change(97, "Shares are attached to servers."),
    _change(96, "Servers show the availability zone they are pinned to.", responses=_servers(t.drop("pinned_availability_zone"))),
    _change(95, "Evacuated servers are stopped at their destination."),
    _change(
        94,
        "A host name may be fully qualified.",
        requests={
            "server_create": t.short_hostname("server"),
            "server_update": t.short_hostname("server"),
            "rebuild": t.short_hostname("rebuild"),
        },
    ),
    _change(93, "Servers on volumes can be rebuilt."),
    _change(
        92,
        "Keypairs are imported only, and their names may have @ and dots.",
        requests={"keypair_create": t.generated_keypair},
    ),
    _change(91, "A shelved server may be brought to a host, and pinned or unpinned."),
    _change(
        90,
        "Everybody sees the host name, and sets it.",
        responses=_servers(t.edit(t.hostname_for_admins)),
        requests={
            "server_create": t.refuse("server", "hostname"),
            "server_update": t.refuse("server", "hostname"),
            "rebuild": t.refuse("rebuild", "hostname"),
        },
    ),
    _change(89, "Volume attachments show attachment_id and bdm_uuid instead of id."),
    _change(
        88,
        "Hypervisors show their uptime and no figures; Placement has those.",
        responses=dict.fromkeys(DETAILED, t.edit(t.hypervisor_figures)),
    ),
    _change(87, "Servers on volumes can be rescued."),
    _change(86, "Known extra specs of flavors are checked."),
    _change(85, "Whether a volume goes with its server can be changed."),
    _change(84, "Events of an action say why they failed.", responses={"action": t.of_events("details")}),
    _change(83, "More filters of servers for everybody."),
    _change(82, "The external event accelerator-request-bound."),
    _change(81, "Images are cached on an aggregate's hosts."),
    _change(80, "Migrations show user and project.", dict.fromkeys(MIGRATIONS, t.drop("user_id", "project_id"))),
    _change(79, "Whether a volume goes with its server is said when it is attached."),
    _change(78, "The NUMA topology of a server."),
    _change(77, "A shelved server may be brought to an availability zone."),
    _change(76, "The external event power-update."),
    _change(
        75,
        "PUT and rebuild answer with the whole server; no swap is 0; hypervisors always list their servers; unknown queries are refused.",
        responses={
            "server_update": t.edit(t.shorter(frozenset())),
            "rebuild": t.edit(t.shorter(frozenset({"key_name", "user_data"}))),
            **dict.fromkeys(FLAVORS, t.edit(t.empty_swap)),
            **dict.fromkeys(HYPERVISORS, t.edit(t.no_empty_servers)),
        },
    ),
    _change(
        74,
        "An administrator asks for a host or hypervisor by name.",
        requests={"server_create": t.refuse("server", "host", "hypervisor_hostname")},
    ),
    _change(
        73,
        "A lock has a reason.",
        responses=_servers(t.drop("locked_reason")),
        requests={"lock": t.lock_without_reason},
    ),
    _change(72, "Servers are created with ports that have resource requests."),
    _change(71, "A server shows its server groups.", responses=_servers(t.drop("server_groups"), ONE)),
    _change(
        70,
        "Interfaces and volume attachments show their tag.",
        responses=dict.fromkeys(("interface", "interfaces"), t.drop("tag")),
    ),
    _change(69, "Servers in cells that are down are listed with what is known."),
    _change(68, "No forced live migration and evacuation."),
    _change(67, "The type of a new volume.", requests={"server_create": t.refuse_in("server", "block_device_mapping_v2", "volume_type")}),
    _change(66, "Filters by changes-before."),
    _change(65, "Live migrations that wait can be aborted."),
    _change(
        64,
        "A server group has one policy, with rules.",
        responses=dict.fromkeys(GROUPS, t.edit(t.group_policies)),
        requests={"server_group": t.one_policy},
    ),
    _change(
        63,
        "Trusted certificates of images.",
        responses=_servers(t.drop("trusted_image_certificates")),
        requests={
            "server_create": t.refuse("server", "trusted_image_certificates"),
            "rebuild": t.refuse("rebuild", "trusted_image_certificates"),
        },
    ),
    _change(62, "Events of an action show their host.", responses={"action": t.of_events("host", "hostId")}),
    _change(61, "Flavors show their extra specs.", responses=dict.fromkeys(FLAVORS, t.drop("extra_specs"))),
    _change(60, "Volumes that several servers use."),
    _change(59, "Migrations are paged and have UUIDs.", dict.fromkeys(MIGRATIONS, t.drop("uuid"))),
    _change(58, "Instance actions are paged.", responses=dict.fromkeys(("actions", "action"), t.drop("updated_at"))),
    _change(
        57,
        "No files are brought into guests; user data can be changed by a rebuild.",
        responses={**FILES, "rebuild": t.drop("user_data")},
        requests={
            "server_create": t.personality("server"),
            "rebuild": t.both(t.refuse("rebuild", "user_data"), t.personality("rebuild")),
            "quota_set": t.without_quotas("quota_set", t.FILE_QUOTAS),
            "quota_class_set": t.without_quotas("quota_class_set", t.FILE_QUOTAS),
        },
    ),
    _change(56, "A cold migration may name its host."),
    _change(
        55,
        "Flavors have a description.",
        responses=dict.fromkeys((*FLAVORS, "flavors"), t.drop("description")),
        requests={"flavor": t.refuse("flavor", "description")},
    ),
    _change(
        54,
        "The key can be changed by a rebuild.",
        responses={"rebuild": t.drop("key_name")},
        requests={"rebuild": t.refuse("rebuild", "key_name")},
    ),
    _change(
        53,
        "Services and hypervisors have UUIDs.",
        responses={
            **dict.fromkeys(HYPERVISORS, t.both(t.edit(t.numbered), t.drop("servers"))),
            "services": t.edit(t.numbered),
            **dict.fromkeys(("hypervisor_uptime", "hypervisors_servers"), t.edit(t.numbered)),
        },
    ),
    _change(52, "Tags are given when a server is created.", requests={"server_create": t.refuse("server", "tags")}),
    _change(51, "Everybody sees the events of an action.", responses={"action": t.events_for_admins}),
    _change(
        50,
        "Quota classes have server groups and no networks.",
        responses={"quota_class_set": t.both(t.drop("server_groups", "server_group_members"), t.with_quotas(t.NETWORK_QUOTAS))},
        requests={"quota_class_set": t.without_quotas("quota_class_set", t.NETWORK_QUOTAS)},
    ),
    _change(49, "Interfaces and volumes are attached with a tag.", requests={"interface": t.refuse("interfaceAttachment", "tag")}),
    _change(48, "Diagnostics have a form.", responses={"diagnostics": t.loose_diagnostics}),
    _change(47, "Servers show their flavor as it was.", responses=_servers(t.edit(t.flavor_by_reference))),
    _change(46, "The request's id is in X-OpenStack-Request-ID too."),
    Change(version=(2, 45), text="Making an image answers with its id instead of its address.", answers={"create_image": t.image_address}),
    _change(44, "Addresses are added and removed by Neutron."),
    _change(43, "No /os-hosts."),
    _change(
        42,
        "Tags of devices, again.",
        requests={"server_create": t.forgotten_tags},
    ),
    _change(41, "Aggregates have UUIDs.", responses=dict.fromkeys(("aggregate", "aggregates"), t.drop("uuid"))),
    _change(40, "Usage is paged."),
    _change(39, "No proxies of image metadata.", responses={"limits": t.absolute({"maxImageMeta": 128})}),
    _change(38, "An unknown status is refused when servers are listed."),
    _change(37, "Networks are said when a server is created: a list, auto or none.", requests={"server_create": t.any_network}),
    _change(
        36,
        "No proxies of other services, nor their quotas.",
        responses=NETWORKS,
        requests={"quota_set": t.without_quotas("quota_set", t.NETWORK_QUOTAS)},
    ),
    _change(35, "Keypairs are paged."),
    _change(34, "Live migration is checked in the background."),
    _change(33, "Hypervisors are paged."),
    _change(32, "Tags of devices.", requests={"server_create": t.device_tags}),
    _change(31, "Tokens of all consoles can be looked up."),
    _change(30, "A live migration checks the host that it is given."),
    _change(29, "An evacuation checks the host that it is given."),
    _change(28, "The CPU of a hypervisor is described by an object.", responses=dict.fromkeys(DETAILED, t.edit(t.cpu_info_text))),
    _change(27, "The header OpenStack-API-Version."),
    _change(26, "Tags of servers.", responses=_servers(t.drop("tags"))),
    _change(25, "Live migration decides itself whether disks are copied."),
    _change(24, "A live migration can be aborted."),
    _change(23, "Migrations of a server.", {"migrations": t.drop("links", "migration_type")}),
    _change(22, "A live migration can be forced to complete."),
    _change(21, "Actions of deleted servers."),
    _change(20, "Volumes of shelved servers."),
    _change(
        19,
        "Servers have a description.",
        responses=_servers(t.drop("description")),
        requests={
            "server_create": t.refuse("server", "description"),
            "server_update": t.refuse("server", "description"),
            "rebuild": t.refuse("rebuild", "description"),
        },
    ),
    _change(18, "No project in the path."),
    _change(17, "A crash dump can be triggered."),
    _change(16, "Administrators see whether a server's host is up.", responses=_servers(t.drop("host_status"))),
    _change(15, "Soft policies of server groups.", requests={"server_group": t.hard_policies}),
    _change(14, "Evacuation finds out about shared storage."),
    _change(13, "Server groups show project and user.", responses=dict.fromkeys(GROUPS, t.drop("project_id", "user_id"))),
    _change(12, "Virtual interfaces show their network."),
    _change(11, "A service can be forced down.", responses={"services": t.drop("forced_down")}),
    _change(
        10,
        "Administrators see and make keypairs of others.",
        requests={"keypair_create": t.refuse("keypair", "user_id")},
    ),
    _change(9, "Servers show whether they are locked.", responses=_servers(t.drop("locked"))),
    _change(8, "The console protocol mks."),
    _change(7, "Access can't be added to a public flavor."),
    _change(6, "Consoles are resources."),
    _change(5, "Servers are filtered by ip6."),
    _change(4, "Fixed IPs show whether they are reserved."),
    _change(
        3,
        "More attributes of servers for administrators.",
        responses=_servers(t.both(t.drop(*t.SINCE_23), t.edit(t.volumes_without_termination))),
    ),
    _change(
        2,
        "Keypairs have a type.",
        responses={"keypair": t.drop("type"), "keypair_create": t.drop("type"), "keypairs": t.keypairs_without_type},
        requests={"keypair_create": t.refuse("keypair", "type")},
    ),
]

HISTORY = History(header="compute", minimum=(2, 1), maximum=(2, 104), changes=CHANGES, legacy_header="X-OpenStack-Nova-API-Version")
