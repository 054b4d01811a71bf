"""Checks and conversions of values, with Neutron's reasons."""

import re
from collections.abc import Callable
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any
from uuid import UUID

Parse = Callable[[Any], Any]
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
LABEL = re.compile(r"(?!-)[a-zA-Z0-9-]{1,63}(?<!-)\Z")
LONGEST_LIST = 1000
WIDEST = 1 << 62
TRUE = (True, 1, "1", "true", "True", "TRUE", "yes", "on", "t", "y")
FALSE = (False, 0, "0", "false", "False", "FALSE", "no", "off", "f", "n")


class InvalidValue(ValueError):
    """Why a value is refused."""


def text(longest: int = 255) -> Parse:
    """A string of at most so many characters."""

    def parse(value: Any) -> str:
        if not isinstance(value, str):
            raise InvalidValue(f"'{value}' is not a valid string")
        if len(value) > longest:
            raise InvalidValue(f"'{value[:80]}...' exceeds maximum length of {longest}")
        return value

    return parse


def text_or_empty(longest: int = 255) -> Parse:
    """A string; null means the empty one."""
    inner = text(longest)
    return lambda value: "" if value is None else inner(value)


def boolean(value: Any) -> bool:
    """True or false, in the spellings that Neutron takes."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | str):
        if value in TRUE:
            return True
        if value in FALSE:
            return False
    raise InvalidValue(f"'{value}' cannot be converted to boolean")


def integer(low: int | None = None, high: int | None = None) -> Parse:
    """A whole number in a range."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise InvalidValue(f"'{value}' is not an integer")
        try:
            number = int(value)
        except ValueError:
            raise InvalidValue(f"'{str(value)[:80]}' is not an integer") from None
        if abs(number) > WIDEST:  # what no column can keep
            raise InvalidValue(f"'{number}' is too large" if number > 0 else f"'{number}' is too small")
        if low is not None and number < low:
            raise InvalidValue(f"'{number}' is too small - must be at least '{low}'")
        if high is not None and number > high:
            raise InvalidValue(f"'{number}' is too large - must be no larger than '{high}'")
        return number

    return parse


def choice(*values: Any) -> Parse:
    """One of these."""

    def parse(value: Any) -> Any:
        if value not in values:
            raise InvalidValue(f"'{value}' is not in {list(values)}")
        return value

    return parse


def optional(inner: Parse) -> Parse:
    """Null, or what `inner` takes."""
    return lambda value: None if value is None else inner(value)


def uuid(value: Any) -> str:
    """A UUID."""
    try:
        return str(UUID(value)) if isinstance(value, str) else str(UUID(""))
    except ValueError:
        raise InvalidValue(f"'{value}' is not a valid UUID") from None


def project(value: Any) -> str:
    """A project's id."""
    return text(255)(value)


def address(value: Any) -> str:
    """An IP address, in its usual form. A zone (`fe80::1%eth0`) is refused: it may hold any text, and this goes into files of the host."""
    try:
        if not isinstance(value, str) or value != value.strip() or "%" in value:
            raise ValueError
        return str(ip_address(value))
    except ValueError:
        raise InvalidValue(f"'{value}' is not a valid IP address") from None


def cidr(value: Any) -> str:
    """A prefix whose host bits are zero."""
    try:
        if not isinstance(value, str) or "/" not in value or "%" in value:
            raise ValueError
        loose = ip_network(value, strict=False)
        if str(ip_address(value.partition("/")[0])) != str(loose.network_address):
            raise InvalidValue(f"'{value}' isn't a recognized IP subnet cidr, '{loose}' is recommended")
        return str(loose)
    except InvalidValue:
        raise
    except ValueError:
        raise InvalidValue(f"'{value}' is not a valid IP subnet") from None


def address_or_cidr(value: Any) -> str:
    """An IP address or a prefix."""
    if isinstance(value, str) and "/" in value and "%" not in value:
        try:
            return str(ip_network(value, strict=False))
        except ValueError:
            raise InvalidValue(f"'{value}' is not a valid IP subnet") from None
    return address(value)


def remote_prefix(value: Any) -> str:
    """The remote of a security group's rule, as it was given, host bits and all: an address stands for its own /32 or /128."""
    found = address_or_cidr(value)
    return str(value) if "/" in found else str(ip_network(found))


def mac(value: Any) -> str:
    """A unicast MAC in lower case with colons."""
    found = value.lower().replace("-", ":") if isinstance(value, str) else ""
    if not MAC.match(found) or int(found[:2], 16) & 1 or found == "00:00:00:00:00:00":
        raise InvalidValue(f"'{value}' is not a valid MAC address")
    return found


def listed(inner: Parse, distinct: bool = True, longest: int = LONGEST_LIST) -> Parse:
    """A list of what `inner` takes, so many at most; null is the empty list."""

    def parse(value: Any) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise InvalidValue(f"'{value}' is not a list")
        if len(value) > longest:  # pyright: ignore[reportUnknownArgumentType]
            raise InvalidValue(f"the list has more than {longest} items")
        found = [inner(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
        if distinct:
            seen: set[str] = set()
            for one in found:
                if (text_of := repr(one)) in seen:
                    raise InvalidValue(f"Duplicate items in the list: '{one}'")
                seen.add(text_of)
        return found

    return parse


def record(fields: dict[str, Parse], required: tuple[str, ...] = (), build: Callable[..., Any] = dict) -> Parse:
    """An object with these fields, as `build` makes of them."""

    def parse(value: Any) -> Any:
        if not isinstance(value, dict):
            raise InvalidValue(f"'{value}' is not a dictionary")
        entries: dict[str, Any] = value
        unknown = sorted(set(entries) - set(fields))
        missing = [name for name in required if name not in entries]
        if unknown or missing:
            raise InvalidValue(f"Expected keys {sorted(fields)}; " + (f"unknown: {unknown}" if unknown else f"missing: {missing}"))
        return build(**{name: fields[name](one) for name, one in entries.items()})

    return parse


def dns_domain(value: Any) -> str:
    """A domain name, with or without its final dot; null is none."""
    found = text_or_empty(253)(value)
    if found and not all(LABEL.match(part) for part in found.removesuffix(".").split(".")):
        raise InvalidValue(f"'{value}' not a valid PQDN or FQDN. Reason: Name is not a valid domain name")
    return found


def tag(value: Any) -> str:
    """A tag: 1 to 255 characters."""
    found = text(255)(value)
    if not found:
        raise InvalidValue("A tag can't be empty")
    return found


def is_ipv4_prefix(value: str) -> bool:
    """Whether a prefix is of IPv4."""
    return isinstance(ip_network(value), IPv4Network)
