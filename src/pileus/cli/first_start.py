"""What a new cloud's store begins with, before its first request."""

from pileus import clock
from pileus.api.identity.passwords import hash_password
from pileus.cli.credentials import Credentials
from pileus.config import Config
from pileus.store.bootstrap_identity import bootstrap as bootstrap_identity
from pileus.store.bootstrap_metadefs import bootstrap as bootstrap_metadefs
from pileus.store.database import Database
from pileus.store.projects import PROJECTS


async def bootstrap(db: Database, credentials: Credentials, config: Config) -> None:
    """Domain, projects, users and roles, when there are none; metadata definitions likewise."""
    if not await PROJECTS.find(db, "1 = 1 LIMIT 1"):
        passwords = credentials.passwords()
        admin, demo = await hash_password(passwords["admin"]), await hash_password(passwords["demo"])
        now = clock.now()
        await db.write(lambda tx: bootstrap_identity(tx, admin_password_hash=admin, demo_password_hash=demo, region=config.region, now=now))
    await db.write(lambda tx: bootstrap_metadefs(tx, clock.now()))
