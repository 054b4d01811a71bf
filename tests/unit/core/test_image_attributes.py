"""Rules of an image's attributes."""

from typing import Any

import pytest

from pileus.core.images import accept, check_mix, parse_patch, patched
from pileus.model.errors import Conflict, Forbidden, Invalid, PileusError, TooLarge
from pileus.model.images import Image, ImageStatus, Visibility

ID = "5b1a1a4c-0000-4000-8000-000000000001"
IMAGE = Image(id=ID, owner="p", name="old", disk_format="raw", container_format="bare", properties={"os_distro": "debian"})


def patch(*operations: dict[str, Any], image: Image = IMAGE, old_form: bool = False) -> dict[str, Any]:
    return patched(image, parse_patch(list(operations), old_form))


def test_attributes_and_properties_are_told_apart() -> None:
    given = {"name": "a", "visibility": "private", "tags": ["x", "y", "x"], "min_disk": 1, "hw_vif_model": "e1000"}
    wanted = {"name": "a", "visibility": Visibility.PRIVATE, "tags": ["x", "y"], "min_disk": 1, "properties": {"hw_vif_model": "e1000"}}
    assert accept(given) == wanted


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"name": "x" * 256}, Invalid, "name"),
        ({"name": 5}, Invalid, "name"),
        ({"id": "no-uuid"}, Invalid, "id"),
        ({"min_ram": -1}, Invalid, "min_ram"),
        ({"min_disk": 1 << 31}, Invalid, "min_disk"),
        ({"protected": "yes"}, Invalid, "protected"),
        ({"visibility": "secret"}, Invalid, "visibility"),
        ({"disk_format": "floppy"}, Invalid, "disk_format"),
        ({"container_format": "box"}, Invalid, "container_format"),
        ({"tags": ["x" * 256]}, Invalid, "tags"),
        ({"hw_cpus": 4}, Invalid, "hw_cpus"),
        ({"hw_cpus": None}, Invalid, "hw_cpus"),
        ({"x" * 256: "a"}, Invalid, "too long"),
        ({"status": "active"}, Forbidden, "read-only"),
        ({"size": 1}, Forbidden, "read-only"),
        ({"deleted": True}, Forbidden, "reserved"),
        ({"os_glance_task": "x"}, Forbidden, "reserved"),
        ({"locations": []}, Forbidden, "locations"),
        ({"tags": [str(number) for number in range(129)]}, TooLarge, "Maximum: 128"),
        ({str(number): "x" for number in range(129)}, TooLarge, "Maximum: 128"),
    ],
)
def test_what_may_not_be_given_is_refused_by_name(given: dict[str, Any], error: type[PileusError], words: str) -> None:
    with pytest.raises(error, match=words):
        accept(given)


def test_kernel_formats_go_with_themselves_only() -> None:
    check_mix("aki", "aki")
    check_mix("ami", None)
    check_mix("qcow2", "ova")
    with pytest.raises(Invalid, match="Invalid mix"):
        check_mix("aki", "bare")


def test_a_patch_adds_replaces_and_removes_in_order() -> None:
    changes = patch(
        {"op": "replace", "path": "/name", "value": "new"},
        {"op": "add", "path": "/a~1b", "value": "1"},
        {"op": "replace", "path": "/a~1b", "value": "2"},
        {"op": "remove", "path": "/os_distro"},
    )
    assert changes == {"name": "new", "properties": {"a/b": "2"}}
    assert patch({"op": "add", "path": "/tags", "value": ["t"]}) == {"tags": ["t"]}
    assert patch() == {}


def test_the_older_form_of_a_patch_means_the_same() -> None:
    assert patch({"replace": "/name", "value": "new"}, {"remove": "/os_distro"}, old_form=True) == {"name": "new", "properties": {}}
    with pytest.raises(Invalid, match="exactly one member"):
        patch({"replace": "/name", "add": "/name", "value": "new"}, old_form=True)


@pytest.mark.parametrize(
    ("operation", "error", "words"),
    [
        ({"op": "replace", "path": "/id", "value": ID}, Forbidden, "read-only"),
        ({"op": "replace", "path": "/checksum", "value": "x"}, Forbidden, "read-only"),
        ({"op": "remove", "path": "/name"}, Forbidden, "may not be removed"),
        ({"op": "add", "path": "/locations/-", "value": {}}, Forbidden, "locations"),
        ({"op": "replace", "path": "/absent", "value": "x"}, Conflict, "does not exist"),
        ({"op": "remove", "path": "/absent"}, Conflict, "does not exist"),
        ({"op": "add", "path": "/number", "value": 5}, Invalid, "number"),
        ({"op": "move", "path": "/name", "value": "x"}, Invalid, "Invalid operation"),
        ({"op": "add", "path": "/name"}, Invalid, "value"),
        ({"op": "add", "value": "x"}, Invalid, "'path'"),
        ({"path": "/name", "value": "x"}, Invalid, "'op'"),
        ({"op": "add", "path": "name", "value": "x"}, Invalid, "does not start"),
        ({"op": "add", "path": "/name/", "value": "x"}, Invalid, "empty part"),
        ({"op": "add", "path": "/a/b", "value": "x"}, Invalid, "Invalid JSON pointer"),
        ({"op": "add", "path": "/a~2", "value": "x"}, Invalid, "escape"),
    ],
)
def test_a_patch_that_may_not_be_is_refused(operation: dict[str, Any], error: type[PileusError], words: str) -> None:
    with pytest.raises(error, match=words):
        patch(operation)


def test_a_patch_is_a_list_of_objects() -> None:
    for raw in ({}, "x", [5]):
        with pytest.raises(Invalid):
            parse_patch(raw, False)


def test_formats_change_only_before_there_is_content() -> None:
    change = {"op": "replace", "path": "/disk_format", "value": "qcow2"}
    assert patch(change) == {"disk_format": "qcow2"}
    active = Image(id=ID, owner="p", status=ImageStatus.ACTIVE, disk_format="raw", container_format="bare")
    with pytest.raises(Forbidden, match="queued image"):
        patch(change, image=active)
    with pytest.raises(Invalid, match="Invalid mix"):
        patch({"op": "replace", "path": "/disk_format", "value": "aki"})
