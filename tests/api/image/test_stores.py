"""Several stores: images are put into them, shown with them, read from them, and leave them."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pileus.api.cloud import Cloud
from pileus.api.image import files, placing, writers
from pileus.model.image_stores import ImageSettings, ImageStore
from pileus.model.images import ImageTask
from pileus.reconcile.server_inputs import guest_on
from pileus.store import image_tasks, servers
from pileus.store import images as store
from pileus.store.database import Transaction
from tests.api.compute.conftest import Compute
from tests.api.harness import Answer, TestCloud
from tests.api.image.calls import IMAGES, OCTETS, active, create, show, upload
from tests.api.image.test_imports import ended

DATA = b"the content of an image" * 1000
SHA = hashlib.sha256(DATA).hexdigest()
STORES = "/image/v2/stores"


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Two more stores."""
    made = {name: tmp_path / name for name in ("archive", "fast")}
    for one in made.values():
        one.mkdir()
    return made


@pytest.fixture
def cloud(folders: dict[str, Path]) -> Iterator[TestCloud]:
    """A cloud with them: the fast one is read first, the archive last."""
    weights = {"fast": 20, "archive": -5}
    made = TestCloud(image=ImageSettings(stores={name: ImageStore(path=str(path), weight=weights[name]) for name, path in folders.items()}))
    yield made
    made.close()


def bring(cloud: TestCloud, image: dict[str, Any], method: str = "glance-direct", token: str = "member", **body: Any) -> Answer:
    return cloud.call("POST", f"{IMAGES}/{image['id']}/import", token=token, json={"method": {"name": method}, **body})


def staged(cloud: TestCloud) -> dict[str, Any]:
    image = create(cloud)
    assert cloud.call("PUT", f"{IMAGES}/{image['id']}/stage", token="member", content=DATA, headers=OCTETS).status == 204
    return image


def contents(cloud: TestCloud) -> list[str]:
    """The stores that have the content; nothing else is in any."""
    found = {name: sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != files.NAMING)
             for name, folder in cloud.cloud.image_stores.items()}  # fmt: skip
    assert all(names in ([], [SHA]) for names in found.values()), found
    return [name for name, names in found.items() if names]


def test_the_stores_are_told_with_their_weights_and_where_they_lie_to_administrators(cloud: TestCloud, folders: dict[str, Path]) -> None:
    told = cloud.call("GET", "/image/v2/info/stores", token="reader").json["stores"]
    assert [(one["id"], one.get("default"), one.get("weight")) for one in told] == [
        ("local", "true", None), ("archive", None, -5), ("fast", None, 20),
    ]  # fmt: skip
    assert cloud.call("GET", "/image/v2/info/stores/detail", token="member").status == 403
    detail = cloud.call("GET", "/image/v2/info/stores/detail", token="admin").json["stores"]
    assert [(one["type"], one["properties"]["data_dir"]) for one in detail[1:]] == [("file", str(folder)) for folder in folders.values()]
    headers = cloud.call("POST", IMAGES, token="member", json={}).headers
    assert headers["openstack-image-store-ids"] == "local,archive,fast"


def test_an_upload_goes_into_the_store_that_it_names(cloud: TestCloud) -> None:
    image = create(cloud)
    assert upload(cloud, image, DATA, headers={**OCTETS, "x-image-meta-store": "cellar"}).status == 400
    assert upload(cloud, image, DATA, headers={**OCTETS, "x-image-meta-store": "fast"}).status == 204
    assert show(cloud, image)["stores"] == "fast" and contents(cloud) == ["fast"]
    assert cloud.call("GET", f"{IMAGES}/{image['id']}/file", token="member").body == DATA
    assert cloud.call("DELETE", f"{IMAGES}/{image['id']}", token="member").status == 204
    assert contents(cloud) == []


def test_an_import_fills_all_stores_and_shows_the_heaviest_first(cloud: TestCloud) -> None:
    image = staged(cloud)
    assert bring(cloud, image, all_stores=True).status == 202
    assert show(cloud, image)["stores"] == "fast,local,archive" and contents(cloud) == ["local", "archive", "fast"]
    assert ended(cloud, image)["input"]["backend"] == ["fast", "local", "archive"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"stores": ["fast"], "all_stores": True}, 400),
        ({"stores": ["cellar"]}, 409),
        ({"stores": ["web"]}, 409),
        ({"stores": ["archive", "fast"]}, 202),
    ],
)
def test_stores_of_an_import_are_looked_at(body: dict[str, Any], status: int, cloud: TestCloud) -> None:
    image = staged(cloud)
    assert bring(cloud, image, **body).status == status
    assert contents_after(cloud, image, status)


def contents_after(cloud: TestCloud, image: dict[str, Any], status: int) -> bool:
    return show(cloud, image)["status"] == ("active" if status == 202 else "uploading")


def breaking(name: str, patched: pytest.MonkeyPatch) -> None:
    """From now on nothing can be written to that store."""
    link, copy = files.link_or_copy, placing.copied

    def broken_link(source: Path, target: Path) -> None:
        if target.name.endswith(f".{name}.placed"):
            raise OSError(28, "No space left on device")
        link(source, target)

    def broken_copy(cloud: Cloud, store: str, source: Path, target: Path, sha256: str) -> str:
        if store == name:
            raise OSError(5, "Input/output error")
        return copy(cloud, store, source, target, sha256)

    patched.setattr(files, "link_or_copy", broken_link)
    patched.setattr(placing, "copied", broken_copy)


def test_where_all_must_succeed_a_full_store_leaves_nothing_in_any(cloud: TestCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    image = staged(cloud)
    breaking("archive", monkeypatch)
    assert bring(cloud, image, all_stores=True).status == 202
    task, seen = ended(cloud, image), show(cloud, image)
    assert task["status"] == "failure" and "archive is full" in task["message"]
    assert (seen["status"], seen["os_glance_failed_import"]) == ("queued", "fast,local,archive") and contents(cloud) == []


def test_else_the_others_are_filled_and_the_full_one_is_named(cloud: TestCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    image = staged(cloud)
    breaking("archive", monkeypatch)
    assert bring(cloud, image, all_stores=True, all_stores_must_succeed=False).status == 202
    seen = show(cloud, image)
    assert (seen["status"], seen["stores"], seen["os_glance_failed_import"]) == ("active", "fast,local", "archive")
    assert contents(cloud) == ["local", "fast"]


def test_a_copy_moves_the_content_into_more_stores(cloud: TestCloud) -> None:
    image = active(cloud, data=DATA)
    assert bring(cloud, image, "copy-image", "member", stores=["fast"]).status == 403
    assert bring(cloud, image, "copy-image", "admin", stores=["fast"]).status == 202
    assert ended(cloud, image)["status"] == "success"
    seen = show(cloud, image)
    assert (seen["stores"], seen["os_glance_importing_to_stores"], seen["os_glance_failed_import"]) == ("fast,local", "", "")
    assert contents(cloud) == ["local", "fast"]


@pytest.mark.parametrize(("must", "there"), [(True, ["local"]), (False, ["local", "fast"])])
def test_a_copy_that_fails_in_one_store_is_undone_or_goes_on(
    must: bool, there: list[str], cloud: TestCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = active(cloud, data=DATA)
    breaking("archive", monkeypatch)
    assert bring(cloud, image, "copy-image", "admin", all_stores=True, all_stores_must_succeed=must).status == 202
    task = ended(cloud, image)
    assert task["status"] == "failure" and "archive" in task["message"]
    seen = show(cloud, image)
    assert set(seen["stores"].split(",")) == set(there) == set(contents(cloud))
    assert seen["os_glance_importing_to_stores"] == "" and "archive" in seen["os_glance_failed_import"]


def test_damaged_content_is_not_copied(cloud: TestCloud) -> None:
    image = active(cloud, data=DATA)
    path = cloud.cloud.images / SHA
    path.chmod(0o644)
    path.write_bytes(DATA[::-1])
    assert bring(cloud, image, "copy-image", "admin", stores=["fast"]).status == 202
    task = ended(cloud, image)
    assert task["status"] == "failure" and "damaged" in task["message"] and contents(cloud) == ["local"]


def test_another_images_content_is_taken_into_the_stores_that_lack_it(cloud: TestCloud) -> None:
    source, image = active(cloud, "source", DATA), create(cloud, "copy")
    method = {"name": "glance-download", "glance_image_id": source["id"], "glance_region": "RegionOne"}
    body = {"method": method, "stores": ["local", "archive"]}
    assert cloud.call("POST", f"{IMAGES}/{image['id']}/import", token="member", json=body).status == 202
    assert show(cloud, image)["stores"] == "local,archive" and contents(cloud) == ["local", "archive"]
    cloud.call("DELETE", f"{IMAGES}/{source['id']}", token="member")
    assert contents(cloud) == ["local", "archive"]


def test_an_image_leaves_a_store_and_its_content_goes_when_no_other_needs_it_there(cloud: TestCloud) -> None:
    both, other = staged(cloud), create(cloud)
    assert bring(cloud, both, stores=["local", "fast"]).status == 202
    assert upload(cloud, other, DATA, headers={**OCTETS, "x-image-meta-store": "fast"}).status == 204
    assert cloud.call("DELETE", f"{STORES}/fast/{both['id']}", token="member").status == 403
    assert cloud.call("DELETE", f"{STORES}/cellar/{both['id']}", token="admin").status == 409
    assert cloud.call("DELETE", f"{STORES}/archive/{both['id']}", token="admin").status == 404
    assert cloud.call("DELETE", f"{STORES}/fast/{both['id']}", token="admin").status == 204
    assert show(cloud, both)["stores"] == "local" and contents(cloud) == ["local", "fast"]
    assert cloud.call("DELETE", f"{STORES}/local/{both['id']}", token="admin").status == 403
    assert cloud.call("DELETE", f"{IMAGES}/{other['id']}", token="member").status == 204
    assert contents(cloud) == ["local"]
    assert cloud.call("DELETE", f"{STORES}/fast/{create(cloud)['id']}", token="admin").status == 409


def test_what_one_store_has_lost_is_read_from_another(cloud: TestCloud, folders: dict[str, Path]) -> None:
    image = staged(cloud)
    assert bring(cloud, image, stores=["local", "fast"]).status == 202
    (folders["fast"] / SHA).unlink()
    assert cloud.call("GET", f"{IMAGES}/{image['id']}/file", token="member").body == DATA
    (cloud.cloud.images / SHA).unlink()
    assert cloud.call("GET", f"{IMAGES}/{image['id']}/file", token="member").status == 503


def half_copied(cloud: TestCloud, image: dict[str, Any], age: float) -> None:
    """As a process leaves it that died after it had filled one of two stores."""

    async def work(tx: Transaction) -> None:
        now = await store.IMAGES.get(tx, image["id"])
        assert now
        await store.save(tx, now, stores=["local", "fast"], properties={"os_glance_importing_to_stores": "archive"},
                         updated_at=time.time() - age)  # fmt: skip
        task = ImageTask(id="t", image_id=now.id, owner=now.owner, user_id="u", request_id="r", status="processing",
                         input={"backend": ["fast", "archive"], "import_req": {}})  # fmt: skip
        await image_tasks.start_task(tx, task)

    (cloud.cloud.image_stores["fast"] / SHA).write_bytes(DATA)
    left = cloud.cloud.image_stores["archive"] / files.UPLOADS / f"{image['id']}.t.archive"
    left.parent.mkdir()
    left.write_bytes(DATA[:10])
    (cloud.cloud.image_stores["archive"] / ("0" * 64)).write_bytes(b"named, and no row said so")
    cloud.run(cloud.cloud.db.write(work))


def test_a_copy_that_died_with_its_process_keeps_what_was_filled_and_names_the_rest(cloud: TestCloud) -> None:
    image = active(cloud, data=DATA)
    half_copied(cloud, image, 0)
    cloud.run(files.recover(cloud.db, cloud.cloud.image_stores))
    seen = show(cloud, image)
    assert (seen["stores"], seen["os_glance_importing_to_stores"], seen["os_glance_failed_import"]) == ("fast,local", "", "archive")
    assert ended(cloud, image)["status"] == "failure" and contents(cloud) == ["local", "fast"]


def test_another_process_notices_it_when_somebody_asks_for_the_image(cloud: TestCloud) -> None:
    image = active(cloud, data=DATA)
    half_copied(cloud, image, writers.PATIENCE + 1)
    with writers.writing(cloud.cloud.images, image["id"], "t"):
        assert show(cloud, image)["os_glance_importing_to_stores"] == "archive"
    assert show(cloud, image)["os_glance_failed_import"] == "archive"


def test_an_image_is_deleted_though_the_disk_of_a_store_is_ill(cloud: TestCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    image = staged(cloud)
    assert bring(cloud, image, stores=["local", "fast"]).status == 202
    unlink = Path.unlink

    def ill(self: Path, missing_ok: bool = False) -> None:
        if self.parent.name == "fast" and self.name == SHA:
            raise OSError(5, "Input/output error")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", ill)
    assert cloud.call("DELETE", f"{IMAGES}/{image['id']}", token="member").status == 204
    assert contents(cloud) == ["fast"]
    monkeypatch.undo()
    assert cloud.run(files.collect(cloud.db, cloud.cloud.image_stores)) == [SHA]
    assert contents(cloud) == []


def test_a_name_without_a_row_is_taken_back_when_an_import_fails_at_its_end(cloud: TestCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    image = staged(cloud)
    install = files.install

    def second(directory: Path, path: Path, found: files.Digest) -> None:
        if directory.name == "archive":
            raise OSError(30, "Read-only file system")
        install(directory, path, found)

    monkeypatch.setattr(files, "install", second)
    assert bring(cloud, image, all_stores=True).status == 202
    assert ended(cloud, image)["status"] == "failure" and contents(cloud) == []


def test_a_server_is_made_of_the_store_that_has_its_image(cloud: TestCloud, folders: dict[str, Path]) -> None:
    image = create(cloud)
    assert upload(cloud, image, DATA, headers={**OCTETS, "x-image-meta-store": "archive"}).status == 204
    body = {"server": {"name": "one", "imageRef": image["id"], "flavorRef": "1", "networks": "none"}}
    made = Compute(cloud).call("POST", "/servers", body)
    assert made.status == 202, made
    server = cloud.run(servers.get(cloud.db, made.json["server"]["id"]))
    guest, _ = cloud.run(guest_on(cloud.db, cloud.cloud.config, server, "one"))
    assert guest.disks[0].image and guest.disks[0].image.path == str(folders["archive"] / SHA)
    assert bring(cloud, image, "copy-image", "admin", stores=["local"]).status == 202
    assert ended(cloud, image)["status"] == "success"
    assert cloud.call("DELETE", f"{STORES}/archive/{image['id']}", token="admin").status == 204
    guest, _ = cloud.run(guest_on(cloud.db, cloud.cloud.config, server, "one"))
    assert guest.disks[0].image and guest.disks[0].image.path == str(cloud.cloud.images / SHA)
