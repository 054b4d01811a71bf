"""The catalogue of metadata definitions that a cloud begins with."""

from pathlib import Path

import msgspec

from pileus.api.image.metadef_bodies import Property
from pileus.core.qemu_argv import NIC_DEVICES
from pileus.model.metadefs import MetadefKind
from pileus.store import metadefs
from pileus.store.bootstrap_metadefs import CATALOGUE, bootstrap
from pileus.store.database import Database
from tests.store.test_images import with_database


def test_a_new_cloud_has_the_catalogue_once(tmp_path: Path) -> None:
    with_database(tmp_path, there_once)


async def there_once(db: Database) -> None:
    for now in (1.0, 2.0):
        await db.write(lambda tx, now=now: bootstrap(tx, now))
    found = await metadefs.NAMESPACES.find(db, "1 = 1 ORDER BY name")
    assert [one.name for one in found] == sorted(part.name for part in CATALOGUE)
    assert {one.created_at for one in found} == {1.0} and {one.visibility for one in found} == {"public"}
    hardware = next(one for one in found if one.name == "OS::Compute::GuestHardware")
    (kind,) = await metadefs.items(db, hardware.id, MetadefKind.RESOURCE_TYPE)
    assert (kind.name, kind.body) == ("OS::Glance::Image", {"prefix": "hw_"})
    model = await metadefs.item(db, hardware.id, MetadefKind.PROPERTY, "vif_model")
    assert model is not None and model.body["enum"] == list(NIC_DEVICES)


def test_an_operators_own_namespaces_are_left_alone(tmp_path: Path) -> None:
    with_database(tmp_path, left_alone)


async def left_alone(db: Database) -> None:
    await db.write(lambda tx: bootstrap(tx, 1.0))
    for one in (await metadefs.NAMESPACES.find(db, "1 = 1"))[1:]:
        await db.write(lambda tx, key=one.id: metadefs.remove_namespace(tx, key))
    await db.write(lambda tx: bootstrap(tx, 2.0))
    assert len(await metadefs.NAMESPACES.find(db, "1 = 1")) == 1


def test_every_property_is_one_that_the_api_would_take() -> None:
    for part in CATALOGUE:
        assert len(part.name) <= 80 and len(part.title) <= 80 and len(part.text) <= 500
        for name, body in part.properties.items():
            msgspec.convert({**body}, Property)
            assert 1 <= len(name) <= 80
