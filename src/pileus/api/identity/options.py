"""Resource options: what Keystone lets operators set on a user, project, domain or role."""

from typing import Any

from pileus.core import multi_factor
from pileus.model.errors import Forbidden, Invalid

IMMUTABLE = ("immutable",)
USER = (
    "ignore_change_password_upon_first_use",
    "ignore_password_expiry",
    "ignore_lockout_failure_attempts",
    "ignore_user_inactivity",
    "lock_password",
    "multi_factor_auth_enabled",
)


def check_options(options: dict[str, Any], flags: tuple[str, ...]) -> None:
    """Invalid for an option that there is not, or a value that is no flag."""
    for name, value in options.items():
        if name == "multi_factor_auth_rules" and flags is USER:
            if value is not None and (words := multi_factor.problem(value)):
                raise Invalid(f"Invalid input: options.multi_factor_auth_rules: {words}.", field=name)
        elif name not in flags:
            raise Invalid(f"Invalid input: options.{name} is not an option here.", field=name)
        elif not (value is None or isinstance(value, bool)):
            raise Invalid(f"Invalid input: options.{name} is true, false or null.", field=name)


def guard_immutable(kind: str, key: str, options: dict[str, Any], sent: dict[str, Any] | None = None) -> None:
    """Forbidden for a change of what is immutable, but for the change that ends that."""
    if not options.get("immutable"):
        return
    freed = bool(sent) and "immutable" in (sent.get("options") or {}) and not sent["options"]["immutable"] if sent else False
    if not freed:
        raise Forbidden(f"Cannot change or delete {kind} {key}: it is immutable. Set its option immutable to false first.")
