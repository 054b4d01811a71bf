"""OAuth 1: consumers, request tokens, access tokens, and the nonces that were seen."""

from pileus.model.oauth1 import AccessToken, Consumer, RequestToken
from pileus.store.database import Transaction
from pileus.store.revocations import revoke
from pileus.store.tables import ResourceTable

CONSUMERS = ResourceTable("oauth_consumers", Consumer)
REQUEST_TOKENS = ResourceTable("oauth_request_tokens", RequestToken)
ACCESS_TOKENS = ResourceTable("oauth_access_tokens", AccessToken)


async def delete_consumer(tx: Transaction, consumer_id: str) -> None:
    """Remove a consumer with all that it was given; tokens that it made of that are void."""
    await tx.execute("DELETE FROM oauth_request_tokens WHERE consumer_id = ?", consumer_id)
    await delete_access_tokens(tx, "consumer_id", consumer_id)
    await CONSUMERS.delete(tx, consumer_id)


async def delete_access_token(tx: Transaction, token_id: str) -> None:
    """Remove what was given to a consumer; tokens that it made of that are void."""
    await revoke(tx, f"oauth:{token_id}")
    await ACCESS_TOKENS.delete(tx, token_id)


async def delete_access_tokens(tx: Transaction, column: str, key: str) -> None:
    """Remove all that a consumer has, a user gave, or was given on a project (`column`: consumer_id, user_id or project_id)."""
    for row in await tx.all(f"SELECT id FROM oauth_access_tokens WHERE {column} = ?", key):  # noqa: S608 names are ours
        await delete_access_token(tx, row[0])
    if column != "consumer_id":
        await tx.execute(f"DELETE FROM oauth_request_tokens WHERE {column} = ?", key)  # noqa: S608


async def first_time(tx: Transaction, nonce: str, now: float, forget_before: float) -> bool:
    """Note a nonce; False when it was seen before."""
    await tx.execute("DELETE FROM oauth_nonces WHERE seen_at < ?", forget_before)
    return await tx.execute("INSERT INTO oauth_nonces (id, seen_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", nonce, now) == 1
