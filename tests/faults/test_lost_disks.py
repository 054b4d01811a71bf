"""A host that has lost a server's disks says so; the server is not started from empty ones as if nothing had happened."""

from pathlib import Path

from pileus.reconcile import hosts
from tests.faults.incarnation import Life, live
from tests.faults.operations import SERVERS, act, image_ids, running, server_id


def test_a_server_whose_disks_are_lost_is_in_error_says_why_and_can_be_rebuilt(state: Path) -> None:
    async def script(life: Life) -> None:
        await running(life)
        await life.settled()
        id = await server_id(life)
        agent = next(agent for agent in life.control.agents if agent._guests)
        agent._hypervisors[0]._forget(id)
        for book in (agent._drivers, agent._guests, agent._wanted):
            book.pop(id)
        hosts.LOST_AFTER = -1.0  # no report is too early to count
        await agent._report_all()
        await life.settled()
        server = (await life.get(f"{SERVERS}/{id}"))["server"]
        assert server["status"] == "ERROR" and "disks are not on its host" in server["fault"]["message"]

        await act(life, "rebuild", {"imageRef": (await image_ids(life, "linux"))[0]["id"]})
        await life.settled()
        await act(life, "os-start")
        await life.settled()
        assert (await life.get(f"{SERVERS}/{id}"))["server"]["status"] == "ACTIVE"
        assert await life.verify() == []

    live(state, script)
