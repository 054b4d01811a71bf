"""The released clients against the image service, over a socket."""

import importlib.util
from pathlib import Path

import pytest

from tests.api.harness import TestCloud

needs_client = pytest.mark.skipif(importlib.util.find_spec("openstackclient") is None, reason="python-openstackclient is missing")
needs_sdk = pytest.mark.skipif(importlib.util.find_spec("openstack") is None, reason="openstacksdk is missing")


@needs_client
def test_the_command_line_makes_changes_saves_and_deletes_an_image(cloud: TestCloud, tmp_path: Path) -> None:
    source, saved = tmp_path / "disk.raw", tmp_path / "saved.raw"
    source.write_bytes(bytes(range(256)) * 8000)
    words = ["--disk-format", "raw", "--container-format", "bare", "--file", str(source), "--property", "os_distro=debian", "--tag", "a"]
    made = cloud.openstack("image", "create", "--format", "json", *words, "disk")
    assert (made["status"], made["visibility"]) == ("active", "shared")
    assert cloud.openstack("image", "list", "--format", "json") == [{"ID": made["id"], "Name": "disk", "Status": "active"}]
    cloud.openstack("image", "set", "--name", "other", "--min-disk", "1", "--private", "--property", "hw_disk_bus=virtio", "disk")
    shown = cloud.openstack("image", "show", "--format", "json", "other")
    assert (shown["name"], shown["min_disk"], shown["visibility"]) == ("other", 1, "private")
    assert shown["properties"]["hw_disk_bus"] == "virtio" and shown["properties"]["os_distro"] == "debian"
    cloud.openstack("image", "unset", "--property", "os_distro", "--tag", "a", "other")
    cloud.openstack("image", "save", "--file", str(saved), "other")
    assert saved.read_bytes() == source.read_bytes()
    cloud.openstack("image", "delete", "other")
    assert cloud.openstack("image", "list", "--format", "json") == []


@needs_client
def test_the_command_line_tells_why_an_image_is_refused(cloud: TestCloud, tmp_path: Path) -> None:
    source = tmp_path / "disk.qcow2"
    source.write_bytes(b"no qcow2 at all")
    told = cloud.openstack("image", "create", "--disk-format", "qcow2", "--file", str(source), "disk", check=False)
    assert "looks like a raw disk" in told
    refused = cloud.openstack("image", "create", "--public", "disk", check=False)
    assert "403" in refused and "publicize_image" in refused


@needs_sdk
def test_the_sdk_uploads_shares_imports_and_pages(cloud: TestCloud, tmp_path: Path) -> None:
    source = tmp_path / "disk.raw"
    source.write_bytes(b"content" * 1000)
    mine, theirs = cloud.connection("member"), cloud.connection("other_project_member", "other")
    made = mine.create_image("disk", filename=str(source), disk_format="raw", container_format="bare", wait=True, min_ram=64)
    assert (made.status, made.min_ram, made.size) == ("active", 64, 7000)
    assert b"".join(mine.image.download_image(made, stream=True).iter_content(1000)) == source.read_bytes()

    other = cloud.project_id("other")
    mine.image.add_member(made.id, member_id=other)
    theirs.image.update_member(other, made.id, status="accepted")
    assert [one.name for one in theirs.image.images()] == ["disk"]
    assert [one.status for one in mine.image.members(made.id)] == ["accepted"]
    mine.image.remove_member(other, made.id)

    staged = mine.image.create_image("staged", filename=str(source), disk_format="raw", container_format="bare", use_import=True)
    assert mine.image.wait_for_status(staged, "active", wait=30).size == 7000
    mine.image.add_tag(staged, "t")
    assert [one.name for one in mine.image.images(tag="t")] == ["staged"]
    mine.image.deactivate_image(staged)
    mine.image.reactivate_image(staged)
    changed = mine.image.update_image(mine.image.get_image(staged.id), name="renamed", is_protected=True)
    assert (changed.name, changed.is_protected) == ("renamed", True)
    for number in range(5):
        mine.image.create_image(f"empty{number}", disk_format="raw", container_format="bare", allow_duplicates=True)
    assert len(list(mine.image.images(limit=2))) == 7
    assert mine.image.get_images_schema().properties and list(mine.image.stores())
    mine.image.delete_image(made)
    assert mine.image.find_image("disk") is None
