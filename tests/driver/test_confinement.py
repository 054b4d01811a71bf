"""Control groups of both versions, as files, and user ids."""

from pathlib import Path

import pytest

from pileus.model.guests import Guest
from pileus.node.hypervisor.confinement import FIRST_UID, Confinement

GUEST = Guest(id="guest-1", name="one", project_id="p", vcpus=2, memory_mib=1024)


@pytest.fixture
def version1(tmp_path: Path) -> Path:
    for controller in ("cpu", "memory"):
        (tmp_path / controller).mkdir()
        (tmp_path / controller / "cgroup.procs").touch()
    return tmp_path


@pytest.fixture
def version2(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    return tmp_path


def test_version_1_has_a_hierarchy_for_each_controller(version1: Path) -> None:
    confinement = Confinement("test", version1, privileged=True)
    assert confinement.controllers == ["cpu (v1)", "memory (v1)"]
    assert confinement.limit(GUEST, 128) == []
    group = version1 / "memory" / "pileus-test" / "guest-1"
    assert (group / "memory.limit_in_bytes").read_text() == str((1024 + 128 + 256) << 20)
    assert (version1 / "cpu" / "pileus-test" / "guest-1" / "cpu.cfs_quota_us").read_text() == "200000"
    assert confinement.enter("guest-1", 42) == []
    assert (group / "cgroup.procs").read_text() == "42"
    assert "no limits of pids" in confinement.describe()


def test_version_2_has_one_hierarchy_whose_controllers_are_handed_down(version2: Path) -> None:
    confinement = Confinement("test", version2, privileged=True)
    assert confinement.controllers == ["cpu (v2)", "memory (v2)", "pids (v2)"]
    assert (version2 / "cgroup.subtree_control").read_text() != "memory\n", "cpu and pids were missing"
    confinement.limit(GUEST, 0)
    group = version2 / "pileus-test" / "guest-1"
    assert (group / "cpu.max").read_text() == "200000 100000"
    assert (group / "memory.max").read_text() == str((1024 + 256) << 20)
    assert int((group / "pids.max").read_text()) > 100


def test_what_the_kernel_refuses_is_said_and_not_fatal(version1: Path) -> None:
    confinement = Confinement("test", version1, privileged=True)
    (version1 / "memory" / "pileus-test").write_text("in the way")
    (refused,) = confinement.limit(GUEST, 0)
    assert refused.startswith("memory: ")


def test_without_root_guests_run_unconfined_and_this_is_said(tmp_path: Path) -> None:
    confinement = Confinement("test", tmp_path, privileged=False)
    assert confinement.user_of("guest-1", []) is None
    assert confinement.prefix(None) == []
    assert confinement.limit(GUEST, 0) == []
    assert "unconfined" in confinement.describe()


def test_no_two_guests_have_one_user(tmp_path: Path) -> None:
    confinement = Confinement("test", tmp_path, privileged=True)
    first = confinement.user_of("guest-1", [])
    second = confinement.user_of("guest-1", [first or 0])
    assert first is not None and second is not None
    assert first != second
    assert min(first, second) >= FIRST_UID
    assert confinement.user_of("guest-1", []) == first


def test_a_user_loses_all_privileges(tmp_path: Path) -> None:
    prefix = " ".join(Confinement("test", tmp_path, privileged=True).prefix(2_000_000_001, [108]))
    assert "--reuid 2000000001 --regid 2000000001 --groups 108" in prefix
    assert "--no-new-privs --bounding-set -all" in prefix
