"""How a login becomes a token: the methods, the scope, the token."""

from pileus import clock
from pileus.api.identity import password_rules
from pileus.api.identity.access_rules import triples
from pileus.api.identity.documents import boolean, tokens_of
from pileus.api.identity.login_bodies import AuthBody
from pileus.api.identity.login_methods import log_in
from pileus.api.identity.login_scopes import Scope, find_scope
from pileus.api.identity.logins import Login
from pileus.api.identity.receipts import take_receipt, unless_enough
from pileus.api.identity.token_documents import token_document
from pileus.api.identity.tokens import INVALID, LONGEST_LIFE, audit_id
from pileus.api.request import Request, Response
from pileus.model.errors import Unauthorized
from pileus.model.identity import Identity
from pileus.model.trusts import Trust
from pileus.model.users import User
from pileus.store.access_rules import rules_by_ids
from pileus.store.federated_users import first_expiry
from pileus.store.trusts import use
from pileus.store.users import USERS


async def create_token(request: Request) -> Response:
    """POST /v3/auth/tokens. 401 with a receipt where the user's rules want more methods."""
    body: AuthBody = request.body
    login = await log_in(request, body.auth.identity)
    take_receipt(request, login)
    if (refused := await unless_enough(request, login)) is not None:
        return refused
    scope = await find_scope(request, login, body.auth.scope)
    identity = await identify(request, login, scope)
    catalog = "nocatalog" not in request.query or not boolean(request.query["nocatalog"])
    document = await token_document(request, identity, catalog)
    return Response(201, document, {"X-Subject-Token": tokens_of(request).issue(identity), "Vary": "X-Auth-Token"})


async def identify(request: Request, login: Login, scope: Scope) -> Identity:
    """What the new token says. Where a trust is counted, it is used once more."""
    now = clock.now()
    credential, trust = login.credential, scope.trust
    user = await _acting(request, login.user, trust)
    rules = await rules_by_ids(request.cloud.db, credential.access_rule_ids or []) if credential else []
    await password_rules.note_login(request, login.user)
    return Identity(
        user_id=user.id,
        user_domain_id=user.domain_id,
        project_id=scope.project.id if scope.project else None,
        project_domain_id=(scope.project.domain_id or scope.project.id) if scope.project else None,
        domain_id=scope.domain.id if scope.domain else None,
        system=scope.system,
        roles=frozenset(role.name.lower() for role in scope.roles),
        methods=tuple(sorted(set(login.methods))),
        audit_ids=(audit_id(), login.chain) if login.chain else (audit_id(),),
        issued_at=now,
        expires_at=min(now + min(request.cloud.config.token_lifetime, LONGEST_LIFE), await _latest(request, login, trust)),
        application_credential_id=credential.id if credential else None,
        access_rules=triples(rules) if credential and credential.access_rule_ids is not None else None,
        access_token_id=login.access_token.id if login.access_token else None,
        federation=login.federation,
        trust_id=trust.id if trust else None,
        trust_user_id=(login.user.id if trust.impersonation else trust.trustor_user_id) if trust else None,
    )


async def _latest(request: Request, login: Login, trust: Trust | None) -> float:
    """What bounds the token's life. What was lent may come of a group that the lender's identity provider said, and ends with that."""
    latest = min(login.latest, (trust and trust.expires_at) or login.latest)
    if trust is None and not login.delegated and "ec2credential" not in login.methods:
        return latest
    ends = await first_expiry(request.cloud.db, trust.trustor_user_id if trust else login.user.id, clock.now())
    return latest if ends is None else min(latest, ends)


async def _acting(request: Request, user: User, trust: Trust | None) -> User:
    """Whose name the token bears; where a trust is counted, it is used once more."""
    if trust is None:
        return user
    if trust.remaining_uses is not None and not await request.cloud.db.write(lambda tx: use(tx, trust.id)):
        raise Unauthorized(INVALID)
    trustor = await USERS.get(request.cloud.db, trust.trustor_user_id) if trust.impersonation else user
    if trustor is None:
        raise Unauthorized(INVALID)
    return trustor
