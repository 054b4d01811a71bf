"""Passwords that users had, and logins that failed: what the rules of the cloud need to know of them."""

from pileus.store.database import Reader, Transaction


async def remember_password(tx: Transaction, user_id: str, password_hash: str, now: float, keep: int) -> None:
    """Note a password that is set; only the last `keep` are kept."""
    sql = "INSERT INTO password_history (user_id, set_at, password_hash) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
    await tx.execute(sql, user_id, now, password_hash)
    kept = "SELECT set_at FROM password_history WHERE user_id = ? ORDER BY set_at DESC LIMIT ?"
    await tx.execute(f"DELETE FROM password_history WHERE user_id = ? AND set_at NOT IN ({kept})", user_id, user_id, keep)  # noqa: S608


async def last_passwords(db: Reader, user_id: str, count: int) -> list[str]:
    """The hashes of the last passwords, the newest first."""
    sql = "SELECT password_hash FROM password_history WHERE user_id = ? ORDER BY set_at DESC LIMIT ?"
    return [row[0] for row in await db.all(sql, user_id, count)]


async def count_failure(tx: Transaction, user_id: str, now: float, forget_before: float) -> None:
    """A login failed; failures whose last lies before `forget_before` are forgotten first."""
    await tx.execute("DELETE FROM login_failures WHERE user_id = ? AND failed_at < ?", user_id, forget_before)
    sql = (
        "INSERT INTO login_failures (user_id, failures, failed_at) VALUES (?, 1, ?)"
        " ON CONFLICT (user_id) DO UPDATE SET failures = login_failures.failures + 1, failed_at = excluded.failed_at"
    )
    await tx.execute(sql, user_id, now)


async def failures_since(db: Reader, user_id: str, moment: float) -> int:
    """How many logins failed in a row, when the last of them did since then."""
    return await db.value("SELECT failures FROM login_failures WHERE user_id = ? AND failed_at >= ?", user_id, moment) or 0


async def forgive(tx: Transaction, user_id: str) -> None:
    """Forget the logins that failed."""
    await tx.execute("DELETE FROM login_failures WHERE user_id = ?", user_id)


async def forget_passwords(tx: Transaction, user_id: str) -> None:
    """Remove all that is known of a user's passwords."""
    await tx.execute("DELETE FROM password_history WHERE user_id = ?", user_id)
    await forgive(tx, user_id)
