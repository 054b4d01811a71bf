"""Configuration of single domains: kept, validated, shown without its secrets; and what is shown of the rules for passwords."""

import asyncio
from typing import Any

import msgspec
from cryptography.fernet import InvalidToken

from pileus.api.cloud import InCloud
from pileus.api.identity.certificates import trusted
from pileus.api.identity.documents import Document, found, write
from pileus.api.identity.keys import KeyRing, key_ring
from pileus.api.request import Request, Response
from pileus.core.directories import check_values
from pileus.core.domain_options import DEFAULTS, SECRET, Options, check_name, check_options, check_update, selected, shown
from pileus.model.base import Model
from pileus.model.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from pileus.model.projects import DEFAULT_DOMAIN
from pileus.store.database import Reader, Transaction
from pileus.store.directories import has_own
from pileus.store.domain_options import Rows, forget_options, options_of, set_options
from pileus.store.domains import get_domain


class DomainOptions(Model, frozen=True, kw_only=True):
    """PUT, PATCH /v3/domains/{domain_id}/config, and below it."""

    config: dict[str, Any]


def _ring(request: InCloud) -> KeyRing:
    return key_ring(request.cloud.config.directory / "secrets" / "credential-keys")


def _rows(request: Request, options: Options) -> Rows:
    rows: Rows = {}
    for group, values in options.items():
        for name, value in values.items():
            text = msgspec.json.encode(value)
            rows[group, name] = (_ring(request).encrypt(text) if (group, name) in SECRET else text).decode()
    return rows


async def domain_options(request: InCloud, db: Reader, domain_id: str) -> Options:
    """What a domain has of its own, secrets included: never for a client."""
    options: Options = {}
    for (group, name), text in (await options_of(db, domain_id)).items():
        try:
            plain = _ring(request).decrypt(text.encode()) if (group, name) in SECRET else text.encode()
        except InvalidToken as error:
            raise Unavailable(f"The option {group}.{name} of domain {domain_id} can't be decrypted: its key is missing.") from error
        options.setdefault(group, {})[name] = msgspec.json.decode(plain)
    return options


def _place(request: Request) -> tuple[str, str | None, str | None]:
    return request.params["domain_id"], request.params.get("group"), request.params.get("option")


async def _demand_domain(request: Request, db: Reader) -> None:
    found(await get_domain(db, request.params["domain_id"]), "domain", request.params["domain_id"])


def _part(options: Options, group: str | None, option: str | None, domain_id: str) -> Any:
    part = selected(options, group, option)
    if part is None:
        what = f"option {option} in group {group}" if option else f"group {group}" if group else "any options"
        raise NotFound(f"Could not find {what} in domain configuration for domain {domain_id}.")
    return part


async def show_options(request: Request) -> Document:
    """GET /v3/domains/{domain_id}/config, .../{group}, .../{group}/{option}."""
    domain_id, group, option = _place(request)
    await _demand_domain(request, request.cloud.db)
    check_name(group, option)
    return {"config": _part(shown(await domain_options(request, request.cloud.db, domain_id)), group, option, domain_id)}


async def put_options(request: Request) -> Response:
    """PUT /v3/domains/{domain_id}/config: these options and no others."""
    domain_id = request.params["domain_id"]
    options = check_options(request.body.config)
    await _check_values(options)
    rows = _rows(request, options)

    async def work(tx: Transaction) -> bool:
        await _demand_domain(request, tx)
        before = await options_of(tx, domain_id)
        await forget_options(tx, domain_id)
        await set_options(tx, domain_id, rows)
        await _check_together(request, tx, domain_id)
        return bool(before)

    known = await write(request, work)
    return Response(200 if known else 201, {"config": shown(options)})


async def update_options(request: Request) -> Document:
    """PATCH of all of it, of a group, or of an option; a part must be there already."""
    domain_id, group, option = _place(request)
    options = check_update(request.body.config, group, option)
    await _check_values(options)
    rows = _rows(request, options)

    async def work(tx: Transaction) -> None:
        await _demand_domain(request, tx)
        if group is not None:
            _part(_names(await options_of(tx, domain_id)), group, option, domain_id)
        await set_options(tx, domain_id, rows)
        await _check_together(request, tx, domain_id)

    await write(request, work)
    return {"config": shown(await domain_options(request, request.cloud.db, domain_id))}


async def _check_values(options: Options) -> None:
    """Invalid when a value can't be meant: of another kind than its option, or a file of certificates that is none."""
    check_values(options)
    ldap = options.get("ldap", {})
    for name in ("tls_cacertfile", "tls_cacertdir"):
        if path := ldap.get(name):
            try:
                await asyncio.to_thread(trusted, str(path))
            except OSError as error:  # an SSLError is one
                reason = error.strerror or str(error)
                raise Invalid(
                    f"The option ldap.{name} names no certificates: {path}: {reason}. Put them below /etc or into the state directory, "
                    "readable by every user.",
                    field=name,
                ) from error


async def _check_together(request: Request, tx: Transaction, domain_id: str) -> None:
    """What the domain has now must fit together. One with users of its own gets none from a directory: they would be nobody's."""
    options = await domain_options(request, tx, domain_id)
    check_values(options)
    if options.get("identity", {}).get("driver") == "ldap" and await has_own(tx, domain_id):
        raise Conflict(
            f"The domain {domain_id} has users or groups of its own; a directory (identity.driver ldap) is for a new domain without any."
        )


def _names(rows: Rows) -> Options:
    names: Options = {}
    for group, name in rows:
        names.setdefault(group, {})[name] = None
    return names


async def remove_options(request: Request) -> None:
    """DELETE of all of it, of a group, or of an option."""
    domain_id, group, option = _place(request)
    check_name(group, option)

    async def work(tx: Transaction) -> None:
        await _demand_domain(request, tx)
        if group is not None:
            _part(_names(await options_of(tx, domain_id)), group, option, domain_id)
        await forget_options(tx, domain_id, group, option)

    await write(request, work)


async def show_defaults(request: Request) -> Document:
    """GET /v3/domains/config/default, /v3/domains/config/{group}/default, /v3/domains/config/{group}/{option}/default."""
    group, option = request.params.get("group"), request.params.get("option")
    check_name(group, option)
    if (group, option) in SECRET:
        raise Forbidden(f"Invalid domain specific configuration: the default of {option} in group {group} is not shown.")
    return {"config": selected(DEFAULTS, group, option)}


async def show_security_compliance(request: Request) -> Document:
    """GET /v3/domains/default/config/security_compliance: what a password must look like, for whoever has to choose one."""
    domain_id, option = request.params["domain_id"], request.params.get("option")
    await _demand_domain(request, request.cloud.db)
    if domain_id != DEFAULT_DOMAIN:
        raise Forbidden("The rules for passwords are those of the whole cloud: they are shown for the default domain alone.")
    config = request.cloud.config
    rules = {"password_regex": config.password_regex, "password_regex_description": config.password_regex_description}
    if option is None:
        return {"config": {"security_compliance": rules}}
    if option not in rules:
        raise Forbidden(f"Of the rules for passwords, {' and '.join(rules)} are shown, not {option}.")
    return {"config": {option: rules[option]}}
