"""Every state has a deadline or ends by something that is named, and a way out; the page says what the code does."""

from pathlib import Path

import pytest

from pileus.api.image import writers
from pileus.config import Config
from pileus.core import states
from pileus.core.servers import Next
from pileus.model.images import ImageStatus
from pileus.model.migrations import MigrationStep
from pileus.model.moves import MoveOptions, MovePhase
from pileus.node.hypervisor import qemu_incoming
from pileus.reconcile import engine, migrations, servers

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "states.md"
HELD_BY = {
    Next.APPLY: servers.APPLY_TIMEOUT,
    Next.SNAPSHOT: servers.SNAPSHOT_TIMEOUT,
    MigrationStep.PLACE: migrations.EARLIER,
    MigrationStep.STOP: migrations.APPLY_TIMEOUT,
    MigrationStep.PREPARE: migrations.GIVE_UP,
    MigrationStep.SEND: Config().move_deadline,
    MigrationStep.FINISH: migrations.LAST_PART,
    MigrationStep.RESUME: migrations.APPLY_TIMEOUT,
    MovePhase.DISKS: MoveOptions().deadline,
    MovePhase.MEMORY: MoveOptions().deadline,
    MovePhase.POST_COPY: qemu_incoming.LOST_SECONDS,
    ImageStatus.SAVING: writers.PATIENCE,
    ImageStatus.UPLOADING: writers.PATIENCE,
    ImageStatus.IMPORTING: writers.PATIENCE,
    states.HostState.UP: Config().node_silence,
}
"""What in the code holds a state to its time."""


@pytest.mark.parametrize("title", list(states.MACHINES))
def test_each_state_of_each_machine_has_one_row_with_a_way_out(title: str) -> None:
    machine, rows = states.MACHINES[title]
    assert [row.state for row in rows] == list(machine)
    for row in rows:
        assert row.then.endswith(".") and row.user.endswith("."), row
        assert "|" not in row.then + row.user


def test_a_deadline_of_the_table_is_that_of_the_code() -> None:
    told = {(machine, row.state): row.seconds for machine, rows in states.MACHINES.values() for row in rows if row.seconds is not None}
    assert told == {(type(state), state): seconds for state, seconds in HELD_BY.items()}
    assert f"{engine.LONGEST_PAUSE:g} s apart" in states.HOST


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text() == states.page(), "write it anew: python -c 'from pileus.core.states import page; print(page(), end=\"\")'"
