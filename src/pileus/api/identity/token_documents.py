"""What GET /v3/auth/tokens shows of a token: here names are looked up, and nowhere else."""

from typing import Any

from pileus.api.identity.catalog import catalog_of
from pileus.api.identity.documents import timestamp
from pileus.api.request import Request
from pileus.model.errors import NotFound
from pileus.model.identity import Identity
from pileus.model.projects import Project
from pileus.store.application_credentials import APPLICATION_CREDENTIALS
from pileus.store.database import Reader
from pileus.store.federation import enabled_service_providers
from pileus.store.oauth1 import ACCESS_TOKENS
from pileus.store.projects import PROJECTS
from pileus.store.roles import roles_in_token
from pileus.store.trusts import TRUSTS
from pileus.store.users import USERS


async def token_document(request: Request, identity: Identity, catalog: bool) -> dict[str, Any]:
    """{"token": {...}} of a token; NotFound when its user, project or domain is no more."""
    db = request.cloud.db
    user = await USERS.get(db, identity.user_id)
    home = await PROJECTS.get(db, identity.user_domain_id)
    if user is None or home is None:
        raise NotFound("Could not find token.")
    token: dict[str, Any] = {
        "methods": list(identity.methods),
        "user": {
            "id": user.id,
            "name": user.name,
            "domain": _brief(home),
            "password_expires_at": timestamp(user.password_expires_at),
        },
        "audit_ids": list(identity.audit_ids),
        "expires_at": timestamp(identity.expires_at),
        "issued_at": timestamp(identity.issued_at),
    }
    if (came := identity.federation) is not None:
        del token["user"]["password_expires_at"]
        token["user"]["OS-FEDERATION"] = {
            "groups": [{"id": one} for one in came.group_ids],
            "identity_provider": {"id": came.idp_id},
            "protocol": {"id": came.protocol_id},
        }
    token |= await _scope(db, identity)
    if identity.roles:
        token["roles"] = [{"id": role.id, "name": role.name} for role in await roles_in_token(db, identity.roles)]
        if catalog:
            token["catalog"] = await catalog_of(request, identity)
        if providers := await enabled_service_providers(db):
            token["service_providers"] = [{"id": one.id, "auth_url": one.auth_url, "sp_url": one.sp_url} for one in providers]
    if identity.application_credential_id:
        credential = await APPLICATION_CREDENTIALS.get(db, identity.application_credential_id)
        if credential is None:
            raise NotFound("Could not find token.")
        token["application_credential"] = {"id": credential.id, "name": credential.name, "restricted": not credential.unrestricted}
        if identity.access_rules is not None:
            names = ("service", "method", "path")
            token["application_credential"]["access_rules"] = [dict(zip(names, rule, strict=True)) for rule in identity.access_rules]
    if identity.access_token_id:
        given = await ACCESS_TOKENS.get(db, identity.access_token_id)
        if given is None:
            raise NotFound("Could not find token.")
        token["OS-OAUTH1"] = {"access_token_id": given.id, "consumer_id": given.consumer_id}
    if identity.trust_id:
        token["OS-TRUST:trust"] = await _trust(db, identity.trust_id)
    return {"token": token}


async def _trust(db: Reader, trust_id: str) -> dict[str, Any]:
    trust = await TRUSTS.get(db, trust_id)
    if trust is None:
        raise NotFound("Could not find token.")
    return {
        "id": trust.id,
        "trustor_user": {"id": trust.trustor_user_id},
        "trustee_user": {"id": trust.trustee_user_id},
        "impersonation": trust.impersonation,
    }


async def _scope(db: Reader, identity: Identity) -> dict[str, Any]:
    if identity.project_id:
        project = await PROJECTS.get(db, identity.project_id)
        domain = await PROJECTS.get(db, identity.project_domain_id or "")
        if project is None or domain is None:
            raise NotFound("Could not find token.")
        return {"project": {**_brief(project), "domain": _brief(domain)}, "is_domain": project.is_domain}
    if identity.domain_id:
        domain = await PROJECTS.get(db, identity.domain_id)
        if domain is None:
            raise NotFound("Could not find token.")
        return {"domain": _brief(domain)}
    return {"system": {"all": True}} if identity.system else {}


def _brief(project: Project) -> dict[str, str]:
    return {"id": project.id, "name": project.name}
