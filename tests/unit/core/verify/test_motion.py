"""What is on its way is not broken; what only looks alike is."""

import time

import msgspec
import pytest

from pileus.core.servers import derive
from pileus.core.verify import INVARIANTS, Breach, HeldLease, World, breaches, lasting
from pileus.core.verify.placement import cyclic
from pileus.model.actions import Action, ActionEvent
from pileus.model.census import FoundDisk
from pileus.model.guests import ObservedGuest, ObservedPower
from pileus.model.images import ImageStatus
from pileus.model.migrations import MigrationKind, MigrationStatus, MigrationStep
from pileus.model.placement import Consumer
from pileus.model.projects import Project
from pileus.model.servers import Resize, ResizeStep
from tests.unit.core.verify.whole import PORTS, RUNS, SERVER, WHOLE, but, changed, image, move, port, seen


def named(world: World) -> list[str]:
    """The names of what is broken."""
    return [name for name, _ in breaches(world)]


def test_a_server_on_its_way_may_differ_from_its_guest() -> None:
    assert breaches(but(settled=frozenset[str](), views=seen(guests=[], processes={}))) == []


def test_a_server_that_is_being_built_has_nothing_yet() -> None:
    fresh = derive(
        msgspec.structs.replace(SERVER, id="s2", host=None, observed=None, launched_at=None, availability_zone=None, request_id="req-2")
    )
    assert fresh.next_step == "place"
    asked = Action(id="act2", server_id="s2", request_id="req-2", action="create", started_at=1.0, updated_at=1.0)
    waits = ActionEvent(id="e2", action_id="act2", event="compute__do_build_and_run_instance", started_at=1.0, details="no host yet")
    assert breaches(but(servers=[SERVER, fresh], open_events=[(asked, waits)])) == []


def test_a_server_that_is_being_deleted_keeps_what_it_has_until_it_is_gone() -> None:
    going = derive(msgspec.structs.replace(SERVER, deleted_at=2.0, generation=2))
    assert (
        breaches(but(servers=[going], settled=frozenset[str](), views=seen(guests=[], processes={}, guest_directories=[], disks=[]))) == []
    )


def test_a_guest_that_is_sent_has_a_process_on_both_hosts() -> None:
    both = [*seen(), *seen(host="h2", guests=[RUNS], taps={}, namespaces=[], domains={})]
    sent = move(source="h1", destination="h2", step=MigrationStep.SEND, status=MigrationStatus.RUNNING)
    moving = [derive(msgspec.structs.replace(SERVER, migration="m1"))]
    held = {**WHOLE.allocations, "m1": WHOLE.allocations["s1"]}
    used = {"VCPU": 2, "MEMORY_MB": 256}
    rows = changed(WHOLE.providers, "rp-h1", used=used)
    consumers = [*WHOLE.consumers, Consumer(id="m1", project_id="p1", user_id="u1")]
    on_both = changed(PORTS, "port1", migrating_to="h2")
    world = but(
        views=both,
        moves=[sent],
        servers=moving,
        settled=frozenset[str](),
        allocations=held,
        providers=rows,
        consumers=consumers,
        ports=on_both,
    )
    assert breaches(world) == []
    third = [*both, *seen(host="h3", guests=[RUNS], guest_directories=[], taps={}, namespaces=[], domains={})]
    assert "guests_run_on_one_host" in named(msgspec.structs.replace(world, views=third))


def test_a_fenced_host_that_is_another_one_says_nothing_here() -> None:
    assert breaches(but(fenced=frozenset({"h2"}))) == []


def test_what_a_move_that_is_not_over_holds_is_its_own() -> None:
    held = {**WHOLE.allocations, "m1": {"rp-h2": {"VCPU": 1}}}
    rows = changed(WHOLE.providers, "rp-h2", used={"VCPU": 1})
    consumers = [*WHOLE.consumers, Consumer(id="m1", project_id="p1", user_id="u1")]
    assert breaches(but(allocations=held, providers=rows, consumers=consumers, moves=[move()])) == []


def test_ports_of_a_server_on_its_way_may_differ() -> None:
    going = move(source="h1", destination="h2", step=MigrationStep.VERIFY, kind=MigrationKind.RESIZE, status=MigrationStatus.FINISHED)
    assert breaches(but(ports=changed(PORTS, "port1", host="h2"), moves=[going])) == []


def test_a_resize_that_waits_for_a_word_has_its_record() -> None:
    waits = move(kind=MigrationKind.RESIZE, step=MigrationStep.VERIFY, status=MigrationStatus.FINISHED)
    resize = Resize(step=ResizeStep.APPLY, old=SERVER.flavor, new=SERVER.flavor, migration="m1")
    assert breaches(but(servers=[derive(msgspec.structs.replace(SERVER, resize=resize))], moves=[waits])) == []


def test_a_host_needs_no_namespace_yet_for_a_server_that_is_being_built() -> None:
    assert breaches(but(views=seen(namespaces=[], taps={}, needed=[]))) == []


def test_an_image_that_is_being_written_has_no_content_yet() -> None:
    writing = image("i3", status=ImageStatus.SAVING, content=None, stores=[], size=None, checksum=None, os_hash_value=None, upload="w1")
    assert breaches(but(images=[*WHOLE.images, writing])) == []


def test_an_allocation_of_another_programs_provider_is_its_own_business() -> None:
    other = msgspec.structs.replace(WHOLE.providers[1], id="disk", name="disk", root_id="disk", used={"VCPU": 1})
    world = but(
        providers=[*WHOLE.providers, other], allocations={**WHOLE.allocations, "theirs": {"disk": {"VCPU": 1}}},
        consumers=[*WHOLE.consumers, Consumer(id="theirs", project_id="p1", user_id="u1")],
    )  # fmt: skip
    assert breaches(world) == []


def test_what_a_vanished_server_holds_may_be_given_back_and_what_a_stranger_holds_may_not() -> None:
    rows = changed(WHOLE.providers, "rp-h2", used={"VCPU": 1})
    held = {**WHOLE.allocations, "lost": {"rp-h2": {"VCPU": 1}}}
    consumers = [*WHOLE.consumers, Consumer(id="lost", project_id="p1", user_id="u1")]
    world = but(providers=rows, allocations=held, consumers=consumers)
    [rule] = [one for one in INVARIANTS if one.name == "allocations_have_consumers"]
    assert [one.repair for one in rule.breaches(world)] == [None]
    [mended] = rule.breaches(msgspec.structs.replace(world, gone=frozenset({"lost"})))
    assert mended.repair is not None and "lost" in mended.repair.sentence()


def test_nobody_leads_where_nothing_runs() -> None:
    stopped = [HeldLease(name="cluster/default", holder="m/1", left=-999.0, returned=True)]
    assert breaches(but(leases=stopped)) == []
    assert breaches(but(leases=[HeldLease(name="cluster/default", holder="m/1", left=-999.0)])) == []


def test_only_what_all_looks_find_lasts() -> None:
    one = Breach(name="a", sentence="A.", evidence="x")
    other = msgspec.structs.replace(one, evidence="y")
    assert lasting([one], [other]) == []
    assert lasting([one, other], [other]) == [other]


def test_cycles_are_found_wherever_one_begins_to_look() -> None:
    assert cyclic({"a": None, "b": "a", "c": "b"}) == []
    assert cyclic({"tail": "c", "c": "b", "b": "c", "x": "x", "lost": "gone"}) == ["b", "x"]


def crowd(servers: int) -> World:
    """A world of so many servers, each with its port, address, allocation and consumer, on 100 hosts' worth of one provider."""
    rows = [msgspec.structs.replace(SERVER, id=f"s{one}") for one in range(servers)]
    ports = [
        port(f"port{one}", "n1", 0, device_id=f"s{one}", device_owner="compute:nova", host="h1", security_groups=["sg1"])
        for one in range(servers)
    ]
    ports = [msgspec.structs.replace(one, mac_address=f"{index:012x}") for index, one in enumerate(ports)]
    return but(
        servers=rows,
        settled=frozenset(one.id for one in rows),
        ports=[*PORTS[1:], *ports],
        allocations={one.id: {"rp-h1": {"VCPU": 1, "MEMORY_MB": 128}} for one in rows},
        consumers=[Consumer(id=one.id, project_id="p1", user_id="u1") for one in rows],
        providers=changed(WHOLE.providers, "rp-h1", used={"VCPU": servers, "MEMORY_MB": 128 * servers}),
        memberships=[(one.id, "sg1") for one in ports],
        views=seen(
            guests=[ObservedGuest(id=one.id, power=ObservedPower.RUNNING) for one in rows],
            guest_directories=[one.id for one in rows],
            disks=[FoundDisk(guest=one.id, name="root", size=1 << 30) for one in rows],
            processes={one.id: [index] for index, one in enumerate(rows)},
        ),
        projects=[
            *WHOLE.projects,
            *(Project(id=f"q{one}", name=f"q{one}", domain_id="default", parent_id="default") for one in range(servers)),
        ],
    )


@pytest.mark.parametrize("one", INVARIANTS, ids=lambda one: one.name)
def test_an_invariant_takes_no_more_than_its_share_for_ten_times_the_servers(one: object) -> None:
    assert hasattr(one, "breaches")
    few, many = WORLDS
    times = [min(_seconds(one, world) for _ in range(3)) for world in (few, many)]
    assert times[1] < 40 * times[0] + 0.02, f"{one}: {times}"  # 10 would be linear, 100 would not


def _seconds(one: object, world: World) -> float:
    began = time.thread_time()
    list(one.breaches(world))  # type: ignore[attr-defined]
    return time.thread_time() - began


WORLDS = crowd(500), crowd(5000)


def test_what_a_host_of_an_earlier_version_does_not_say_is_not_held_against_it() -> None:
    assert breaches(but(views=seen(disks=None, addresses=None))) == []
