"""Hosts that are away, silent, late, empty or talkative: what was asked waits visibly, goes on when they answer, and is done once."""

import asyncio
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from pileus.model.errors import NodeFailed, Unavailable
from pileus.model.guests import ObservedPower
from pileus.model.messages import ApplyGuest, NodeReply, NodeRequest, Snapshot
from pileus.reconcile import servers as reconciler
from pileus.store.backups import back_up, restore
from tests.faults.incarnation import Life, live
from tests.faults.operations import (
    NETWORK,
    SERVERS,
    act,
    create_server,
    delete,
    history,
    image_ids,
    move_live,
    running,
    server_id,
    servers,
    status,
)


def agent_of(life: Life) -> Any:
    """The agent that runs the only guest."""
    found = [agent for agent in life.control.agents if agent._guests]
    assert len(found) == 1
    return found[0]


async def open_event(life: Life) -> dict[str, Any]:
    """The newest event of the server's newest action."""
    path = f"{SERVERS}/{await server_id(life)}/os-instance-actions"
    newest = (await life.get(path))["instanceActions"][0]["request_id"]
    return (await life.get(f"{path}/{newest}"))["instanceAction"]["events"][0]


def test_a_delete_waits_visibly_for_a_host_that_is_away_and_is_done_when_it_is_back(state: Path) -> None:
    async def script(life: Life) -> None:
        await running(life)
        agent = agent_of(life)
        life.control.bus.detach(agent.host)
        await delete(life)
        await life.until(lambda: life.engine.failing, "the failure being shown")
        server = (await servers(life))[0]
        assert server["OS-EXT-STS:task_state"] == "deleting"
        event = await open_event(life)
        assert event["event"] == "compute_terminate_instance" and event["result"] is None
        assert f"Host {agent.host} is not connected" in event["details"]
        life.control.bus.attach(agent.host, agent.handle)
        await agent._report_all()
        await life.settled(within=2)  # its report wakes what waits
        assert await status(life) == "none" and await life.verify() == []

    live(state, script)


def test_a_delete_does_not_wait_for_a_host_that_is_down_which_removes_the_guest_when_it_is_back(state: Path) -> None:
    async def script(life: Life) -> None:
        await running(life)
        agent, server = agent_of(life), await server_id(life)
        life.control.bus.detach(agent.host)
        services = (await life.get("/compute/v2.1/os-services?binary=nova-compute"))["services"]
        service = next(one["id"] for one in services if one["host"] == agent.host)
        await life.do("PUT", f"/compute/v2.1/os-services/{service}", {"forced_down": True}, who="admin")
        await delete(life)
        async with asyncio.timeout(20):
            while await servers(life):
                await asyncio.sleep(0.01)
        assert (await life.get("/placement/allocations/" + server))["allocations"] == {}
        assert [one.id for one in await agent._hypervisors[0].observe()] == [server]
        life.control.bus.attach(agent.host, agent.handle)
        await agent._report_all()
        await life.settled()
        assert await agent._hypervisors[0].observe() == []
        await life.do("PUT", f"/compute/v2.1/os-services/{service}", {"forced_down": False}, who="admin")
        assert await life.verify() == []

    live(state, script)


def test_a_server_whose_host_went_away_before_it_was_built_can_be_deleted(state: Path) -> None:
    async def script(life: Life) -> None:
        for agent in life.control.agents:
            life.control.bus.detach(agent.host)
        await create_server(life)
        await life.until(lambda: life.engine.failing, "the failure being shown")
        assert (await servers(life))[0]["status"] == "BUILD" and "not connected" in (await open_event(life))["details"]
        await delete(life)
        for agent in life.control.agents:
            life.control.bus.attach(agent.host, agent.handle)
            await agent._report_all()
        await life.settled()
        assert await status(life) == "none" and await life.verify() == []

    live(state, script)


@pytest.mark.parametrize("late", [False, True], ids=["never", "late"])
def test_a_request_that_is_answered_too_late_or_never_is_made_again(state: Path, late: bool) -> None:
    async def script(life: Life) -> None:
        await running(life)
        agent = agent_of(life)
        asked: list[NodeRequest] = []
        afterwards: list[asyncio.Task[NodeReply]] = []

        async def silent(request: NodeRequest) -> NodeReply:
            if isinstance(request, ApplyGuest) and not asked:
                asked.append(request)
                if late:
                    afterwards.append(asyncio.create_task(agent.handle(request)))
                await asyncio.Future()
            return await agent.handle(request)

        reconciler.APPLY_TIMEOUT = 0.1
        life.control.bus.attach(agent.host, silent)
        await act(life, "reboot", {"type": "HARD"})
        await life.until(lambda: life.engine.failing, "the failure being shown")
        assert "did not answer within 0.1 s" in str(life.engine.failing)
        await life.settled()
        assert await history(life) == "ACTIVE after reboot Success"
        guests = [guest for one in life.control.agents for guest in await one._hypervisors[0].observe()]
        assert [guest.reboots_hard for guest in guests] == [1]

    live(state, script)


def test_hosts_that_are_silent_do_not_hold_up_the_others(state: Path) -> None:
    async def script(life: Life) -> None:
        async def silent(request: NodeRequest) -> NodeReply:
            return await asyncio.Future()

        for agent in life.control.agents[1:]:
            life.control.bus.attach(agent.host, silent)
        await create_server(life, "many", min_count=12, max_count=12)
        mine = life.control.agents[0].host

        async def those_here() -> list[str]:
            return [one["status"] for one in await servers(life) if one["OS-EXT-SRV-ATTR:host"] == mine]

        deadline = time.monotonic() + 15
        while len(await those_here()) < 3 or set(await those_here()) != {"ACTIVE"}:
            assert time.monotonic() < deadline, f"{await those_here()} behind hosts that are silent"
            await asyncio.sleep(0.05)

    live(state, script, hosts=3)


def test_a_guest_that_an_apply_makes_after_its_removal_is_collected(state: Path) -> None:
    async def script(life: Life) -> None:
        await running(life)
        agent = agent_of(life)
        straggler = ApplyGuest(guest=next(iter(agent._guests.values())))
        await delete(life)
        await life.settled()
        await agent.handle(straggler)
        assert await agent._hypervisors[0].observe()
        await agent._report_all()
        await life.settled()
        assert await agent._hypervisors[0].observe() == [] and await life.verify() == []

    live(state, script)


def test_what_a_lost_reply_would_have_ended_is_ended_by_the_next_report(state: Path) -> None:
    async def script(life: Life) -> None:
        await running(life)
        agent = agent_of(life)
        lost: list[NodeReply] = []

        async def deaf(request: NodeRequest) -> NodeReply:
            if isinstance(request, ApplyGuest):
                lost.append(await agent.handle(request))
                raise Unavailable("the line went dead")
            return await agent.handle(request)

        life.control.bus.attach(agent.host, deaf)
        await act(life, "os-stop")
        await life.until(lambda: lost, "the stop being done")
        await agent._report_all()
        await life.settled()
        assert len(lost) == 1
        assert await history(life) == "SHUTOFF after stop Success"
        port = (await life.get(f"{NETWORK}/ports?device_id={await server_id(life)}"))["ports"][0]
        assert port["status"] == "DOWN"

    live(state, script)


def test_a_storm_of_reports_costs_no_more_than_the_host_has_guests(state: Path) -> None:
    async def script(life: Life) -> None:
        await running(life)
        agent = agent_of(life)
        hosts: Any = life.engine.reconcilers["hosts"]
        complete = await agent._complete()
        guest = complete.guests[0]
        for _ in range(3000):
            agent._changed(guest)
            life.control.bus.report(complete)
            agent._changed(guest)
        assert len(hosts._reports[agent.host]) == 2
        await life.settled(within=2)
        assert await status(life) == "ACTIVE"

    live(state, script)


def test_a_host_that_comes_back_with_nothing_left_says_so_and_its_servers_can_be_rebuilt(state: Path) -> None:
    async def script(life: Life) -> None:
        await running(life)

    live(state, script)
    for place in (state / "node").glob("*/simulated"):
        shutil.rmtree(place)
    with sqlite3.connect(state / "pileus.db") as db:
        db.execute("UPDATE servers SET updated_at = updated_at - 60")  # a host does not boot within seconds

    async def later(life: Life) -> None:
        await life.settled()
        server = (await servers(life))[0]
        assert server["status"] == "ERROR" and "disks are not on its host" in server["fault"]["message"]
        await act(life, "rebuild", {"imageRef": (await image_ids(life, "linux"))[0]["id"]})
        await life.settled()
        await act(life, "os-start")
        await life.settled()
        assert await status(life) == "ACTIVE" and await life.verify() == []

    live(state, later)


def test_a_server_in_error_says_why_and_gets_out_of_it(state: Path) -> None:
    async def script(life: Life) -> None:
        await running(life)
        agent = agent_of(life)
        driver = agent._hypervisors[0]
        works = driver.apply

        async def fails(guest: Any) -> Any:
            raise NodeFailed("The host has lost its disk.", detail="errno 5")

        async def breaks(action: str, value: Any = None) -> None:
            driver.apply = fails
            await act(life, action, value)
            await life.settled()
            driver.apply = works
            server = (await servers(life))[0]
            assert server["status"] == "ERROR" and server["fault"]["message"].startswith("The host has lost its disk. ")

        await breaks("os-stop")
        await act(life, "reboot", {"type": "HARD"})
        await life.settled()
        assert await status(life) == "ACTIVE"
        await breaks("reboot", {"type": "SOFT"})
        await act(life, "os-stop")
        await life.settled()
        assert await status(life) == "SHUTOFF"
        await breaks("os-start")
        await delete(life)
        await life.settled()
        assert await status(life) == "none" and await life.verify() == []

    live(state, script)


def test_a_snapshot_that_fails_says_so_and_leaves_no_image_that_waits(state: Path) -> None:
    async def script(life: Life) -> None:
        await running(life)
        driver = agent_of(life)._hypervisors[0]

        async def fails(guest_id: str, destination: Path) -> Any:
            raise NodeFailed("The disk can't be read.")

        driver.snapshot = fails
        await act(life, "createImage", {"name": "snap"})
        await life.settled()
        event = await open_event(life)
        assert (event["result"], event["details"]) == ("Error", "The disk can't be read.")
        assert await image_ids(life, "snap") == [] and await status(life) == "ACTIVE"

    live(state, script)


def test_a_delete_does_not_wait_for_a_long_copy(state: Path) -> None:
    async def script(life: Life) -> None:
        await running(life)
        agent = agent_of(life)
        copying: list[NodeRequest] = []

        async def slow(request: NodeRequest) -> NodeReply:
            if isinstance(request, Snapshot):
                copying.append(request)
                await asyncio.Future()
            return await agent.handle(request)

        reconciler.LOOK_EVERY = 0.05
        life.control.bus.attach(agent.host, slow)
        await act(life, "createImage", {"name": "snap"})
        await life.until(lambda: copying, "the copy having begun")
        await delete(life)
        await life.settled(within=5)
        assert await status(life) == "none" and await image_ids(life, "snap") == []

    live(state, script)


def test_a_guest_that_shuts_down_while_its_server_is_renamed_stays_down(state: Path) -> None:
    async def script(life: Life) -> None:
        await running(life)
        driver = agent_of(life)._hypervisors[0]
        key = await server_id(life)
        told = driver._changed
        driver._changed = None  # its word comes late
        driver.end(key)
        await life.do("PUT", f"{SERVERS}/{key}", {"server": {"name": "one-renamed"}})
        await life.settled()
        driver._changed = told
        assert [guest.power for guest in await driver.observe()] == [ObservedPower.STOPPED]
        assert await status(life) == "SHUTOFF"
        await act(life, "os-start")
        await life.settled()
        assert await status(life) == "ACTIVE" and await life.verify() == []

    live(state, script)


def test_an_owner_who_starts_a_server_that_has_just_ended_has_it_running(state: Path) -> None:
    async def script(life: Life) -> None:
        await running(life)
        driver = agent_of(life)._hypervisors[0]
        key = await server_id(life)
        for _ in range(5):
            driver.end(key)
            deadline = time.monotonic() + 5
            while (await life.call("POST", f"{SERVERS}/{key}/action", {"os-start": None})).status != 202:
                assert time.monotonic() < deadline
            await life.settled()
            assert await status(life) == "ACTIVE"

    live(state, script)


def test_writes_that_race_are_all_applied_or_refused(state: Path) -> None:
    async def script(life: Life) -> None:
        await running(life)
        path = f"{SERVERS}/{await server_id(life)}"
        marks = [life.call("POST", f"{path}/metadata", {"metadata": {f"k{number}": "v"}}) for number in range(20)]
        others = [life.call("PUT", path, {"server": {"name": "one-renamed"}}), life.call("POST", f"{path}/action", {"os-stop": None})]
        answers = await asyncio.gather(*marks, *others)
        await life.settled()
        server = (await servers(life))[0]
        accepted = {f"k{number}" for number, answer in enumerate(answers[:20]) if answer.status == 200}
        assert set(server["metadata"]) == accepted and all(answer.status in (200, 202, 409) for answer in answers)
        assert (server["name"] == "one-renamed") == (answers[20].status == 200)
        assert (server["status"] == "SHUTOFF") == (answers[21].status == 202)
        both = await asyncio.gather(life.call("DELETE", path), life.call("DELETE", path))
        assert all(answer.status in (204, 404, 409) for answer in both)
        await life.settled()
        assert await status(life) == "none" and await life.verify() == []

    live(state, script)


@pytest.mark.parametrize("away", [False, True], ids=["its old host answers", "its old host is away"])
def test_records_that_are_older_than_a_move_cost_no_guest_its_disks(state: Path, away: bool) -> None:
    path, copy = state / "pileus.db", state / "copy.db"

    async def first(life: Life) -> None:
        await running(life)
        back_up(path, copy)
        before = agent_of(life).host
        await move_live(life)
        await life.settled()
        assert agent_of(life).host != before
        await life.control.close()

    async def second(life: Life) -> None:
        recorded = (await life.get(f"{SERVERS}/{await server_id(life)}"))["server"]["OS-EXT-SRV-ATTR:host"]
        if away:
            life.control.bus.detach(recorded)
        for _ in range(2):
            for agent in life.control.agents:
                await agent._report_all()
            await asyncio.sleep(0.1)
        moved = agent_of(life)
        assert moved.host != recorded
        assert [one.id for one in await moved._hypervisors[0].observe()] == [await server_id(life)]
        assert any(moved.host in str(breach) for breach in await life.verify())

    live(state, first)
    restore(path, copy)
    live(state, second)
