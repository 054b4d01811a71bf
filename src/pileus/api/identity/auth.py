"""How a login becomes a token: the methods, the scope, the token."""

from typing import Any

import msgspec

from pileus import clock
from pileus.api.identity import password_rules, passwords
from pileus.api.identity.access_rules import triples
from pileus.api.identity.documents import boolean, tokens_of
from pileus.api.identity.token_documents import token_document
from pileus.api.identity.tokens import INVALID, LONGEST_LIFE, audit_id
from pileus.api.request import Request, Response
from pileus.model.application_credentials import ApplicationCredential
from pileus.model.base import Model
from pileus.model.errors import Forbidden, Invalid, NotFound, NotImplementedYet, Unauthorized
from pileus.model.identity import Identity
from pileus.model.projects import Project
from pileus.model.roles import Role
from pileus.model.trusts import Trust
from pileus.model.users import User
from pileus.store import assignments
from pileus.store.access_rules import rules_by_ids
from pileus.store.application_credentials import APPLICATION_CREDENTIALS, credential_named
from pileus.store.database import Reader
from pileus.store.domains import domain_named, get_domain
from pileus.store.projects import PROJECTS, project_named
from pileus.store.roles import expand
from pileus.store.trusts import TRUSTS, use
from pileus.store.users import USERS, user_named


class Named(Model, frozen=True, kw_only=True):
    """Something by id or by name."""

    id: str | None = None
    name: str | None = None


class NamedIn(Named, frozen=True, kw_only=True):
    """Something by id, or by name and domain."""

    domain: Named | None = None


class PasswordUser(NamedIn, frozen=True, kw_only=True):
    """Who logs in by password."""

    password: str


class PasswordMethod(Model, frozen=True, kw_only=True):
    """The password method."""

    user: PasswordUser


class TokenMethod(Model, frozen=True, kw_only=True):
    """The token method."""

    id: str


class ApplicationCredentialMethod(NamedIn, frozen=True, kw_only=True):
    """The application credential method: by id, or by name and user."""

    secret: str
    user: NamedIn | None = None


class Methods(Model, frozen=True, kw_only=True):
    """How the caller shows who it is."""

    methods: list[str]
    password: PasswordMethod | None = None
    token: TokenMethod | None = None
    application_credential: ApplicationCredentialMethod | None = None


class Auth(Model, frozen=True, kw_only=True):
    """Who, and for what."""

    identity: Methods
    scope: dict[str, Any] | str | None = None


class AuthBody(Model, frozen=True, kw_only=True):
    """POST /v3/auth/tokens."""

    auth: Auth


class Login(msgspec.Struct, kw_only=True):
    """What the methods have shown. `latest` bounds the token's life, `chain` is the audit id of the first token."""

    user: User
    methods: list[str]
    latest: float
    chain: str | None = None
    credential: ApplicationCredential | None = None


class Scope(msgspec.Struct, kw_only=True):
    """Where the token counts."""

    project: Project | None = None
    domain: Project | None = None
    system: bool = False
    roles: list[Role] = []
    trust: Trust | None = None


async def create_token(request: Request) -> Response:
    """POST /v3/auth/tokens."""
    body: AuthBody = request.body
    login = await _log_in(request, body.auth.identity)
    scope = await _find_scope(request, login, body.auth.scope)
    now = clock.now()
    credential, trust = login.credential, scope.trust
    user = await _acting(request, login.user, trust)
    rules = await rules_by_ids(request.cloud.db, credential.access_rule_ids or []) if credential else []
    identity = Identity(
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
        expires_at=min(
            now + min(request.cloud.config.token_lifetime, LONGEST_LIFE), login.latest, (trust and trust.expires_at) or login.latest
        ),
        application_credential_id=credential.id if credential else None,
        access_rules=triples(rules) if credential and credential.access_rule_ids is not None else None,
        trust_id=trust.id if trust else None,
        trust_user_id=(login.user.id if trust.impersonation else trust.trustor_user_id) if trust else None,
    )
    catalog = "nocatalog" not in request.query or not boolean(request.query["nocatalog"])
    document = await token_document(request, identity, catalog)
    return Response(201, document, {"X-Subject-Token": tokens_of(request).issue(identity), "Vary": "X-Auth-Token"})


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


async def _log_in(request: Request, given: Methods) -> Login:
    if not given.methods:
        raise Invalid("Invalid input: at least one method is needed - at `$.auth.identity.methods`", field="methods")
    login: Login | None = None
    for name in dict.fromkeys(given.methods):
        shown = await _method(request, name, given)
        if login is None:
            login = shown
            continue
        if login.user.id != shown.user.id:
            raise Unauthorized(INVALID)
        login.methods += shown.methods
        login.latest = min(login.latest, shown.latest)
        login.chain = login.chain or shown.chain
    assert login is not None
    domain = await get_domain(request.cloud.db, login.user.domain_id)
    if not login.user.enabled or domain is None or not domain.enabled:
        raise Unauthorized(INVALID)
    return login


async def _method(request: Request, name: str, given: Methods) -> Login:
    if name == "password" and given.password:
        return await _by_password(request, given.password.user)
    if name == "token" and given.token:
        return await _by_token(request, given.token.id)
    if name == "application_credential" and given.application_credential:
        return await _by_application_credential(request, given.application_credential)
    if name in ("password", "token", "application_credential"):
        raise Invalid(f"Expecting to find {name} in identity. The server could not comply with the request.", field=name)
    if name in ("totp", "oauth1", "saml2", "mapped", "oauth2_credential", "openid"):
        raise NotImplementedYet(f"The authentication method {name} is not available; use password, token or application_credential.")
    raise Unauthorized("Attempted to authenticate with an unsupported method.")


async def _by_password(request: Request, given: PasswordUser) -> Login:
    user = await find_user(request.cloud.db, given)
    checked = user.password_hash if user else None
    with request.cloud.login_limits.attempt(user.id if user else _claimed(given), request.remote_address) as attempt:
        right = await password_rules.verify(request, user, given.password)
        user = await USERS.get(request.cloud.db, user.id) if user else None  # logins wait: it may have been disabled or changed meanwhile
        attempt.right = right and user is not None and user.password_hash == checked
    if user is None or not attempt.right:
        raise Unauthorized(INVALID)
    if user.password_expires_at is not None and user.password_expires_at <= clock.now():
        raise Unauthorized(INVALID)
    return Login(user=user, methods=["password"], latest=float("inf"))


def _claimed(given: NamedIn) -> str:
    """What a user is called that is not there."""
    domain = given.domain or Named()
    return f"?{given.id or ''}\0{given.name or ''}\0{domain.id or ''}\0{domain.name or ''}"


async def _by_token(request: Request, text: str) -> Login:
    try:
        identity = tokens_of(request).validate(text)
    except Unauthorized as error:
        raise NotFound("Could not find token.") from error
    if identity.trust_id:
        raise Forbidden("A token of a trust can't be exchanged for another; log in by password, with the trust as the scope.")
    user = await USERS.get(request.cloud.db, identity.user_id)
    if user is None:
        raise Unauthorized(INVALID)
    credential = None
    if identity.application_credential_id:
        credential = await APPLICATION_CREDENTIALS.get(request.cloud.db, identity.application_credential_id)
        if credential is None:
            raise Unauthorized(INVALID)
    return Login(
        user=user,
        methods=[*identity.methods, "token"],
        latest=identity.expires_at,
        chain=identity.audit_ids[-1],
        credential=credential,
    )


async def _by_application_credential(request: Request, given: ApplicationCredentialMethod) -> Login:
    db = request.cloud.db
    credential: ApplicationCredential | None = None
    if given.id is not None:
        credential = await APPLICATION_CREDENTIALS.get(db, given.id)
    elif given.name is not None and given.user is not None:
        owner = await find_user(db, given.user)
        credential = await credential_named(db, given.name, owner.id) if owner else None
    else:
        raise Invalid("An application credential is named by its id, or by its name and user.", field="application_credential")
    name = credential.id if credential else f"{_claimed(given)}\0{_claimed(given.user or NamedIn())}"
    with request.cloud.login_limits.attempt(name, request.remote_address) as attempt:
        attempt.right = right = await passwords.verify(credential.secret_hash if credential else None, given.secret)
    credential = await APPLICATION_CREDENTIALS.get(db, credential.id) if credential else None  # it may have been removed meanwhile
    if credential is None or not right or (credential.expires_at is not None and credential.expires_at <= clock.now()):
        raise Unauthorized(INVALID)
    user = await USERS.get(db, credential.user_id)
    if user is None:
        raise Unauthorized(INVALID)
    return Login(user=user, methods=["application_credential"], latest=credential.expires_at or float("inf"), credential=credential)


async def find_user(db: Reader, given: NamedIn) -> User | None:
    """The user by id, or by name and domain."""
    if given.id is not None:
        return await USERS.get(db, given.id)
    if given.name is None:
        raise Invalid("Expecting to find id or name in user.", field="user")
    domain = await _domain(db, given.domain, "user")
    return await user_named(db, given.name, domain.id) if domain else None


async def _domain(db: Reader, given: Named | None, of: str) -> Project | None:
    if given is None or (given.id is None and given.name is None):
        raise Invalid(f"Expecting to find domain in {of}.", field="domain")
    return await get_domain(db, given.id) if given.id is not None else await domain_named(db, given.name or "")


async def _find_scope(request: Request, login: Login, asked: dict[str, Any] | str | None) -> Scope:
    db = request.cloud.db
    if login.credential:
        return await _credential_scope(db, login, asked)
    if asked is None:
        return await _default_scope(db, login.user)
    if asked == "unscoped" or (isinstance(asked, dict) and "unscoped" in asked):
        return Scope()
    if isinstance(asked, str) or len(asked) != 1:
        raise Invalid("A scope is one of project, domain, system or unscoped.", field="scope")
    scope = await _asked_scope(db, login.user, asked)
    if not scope.roles:
        raise Unauthorized(INVALID)
    return scope


async def _asked_scope(db: Reader, user: User, asked: dict[str, Any]) -> Scope:
    kind, value = next(iter(asked.items()))
    try:
        if kind == "project":
            project = await _project(db, msgspec.convert(value, NamedIn))
            return await _project_scope(db, user, project)
        if kind == "domain":
            domain = await _domain(db, msgspec.convert(value, Named), "scope")
            return await _domain_scope(db, user, domain)
    except msgspec.ValidationError as error:
        raise Invalid(f"Invalid input: {error} (in scope.{kind})", field=kind) from error
    if kind == "system":
        if not isinstance(value, dict) or value.get("all") is not True:  # pyright: ignore[reportUnknownMemberType]
            raise Invalid('The system scope is {"system": {"all": true}}.', field="system")
        return Scope(system=True, roles=await assignments.roles_on_system(db, user.id))
    if kind == "OS-TRUST:trust":
        return await _trust_scope(db, user, value)
    raise Invalid(f"'{kind}' is not a scope; use project, domain, system or unscoped.", field="scope")


async def _trust_scope(db: Reader, user: User, value: Any) -> Scope:
    """The trust's project with its roles, as long as both parties and the trustor's own roles are there."""
    key = value.get("id") if isinstance(value, dict) else None
    trust = await TRUSTS.get(db, key) if isinstance(key, str) else None
    if trust is None or (trust.expires_at is not None and trust.expires_at <= clock.now()) or trust.remaining_uses == 0:
        raise Unauthorized(INVALID)
    if trust.trustee_user_id != user.id:
        raise Forbidden("User is not a trustee.")
    trustor = await USERS.get(db, trust.trustor_user_id)
    home = await get_domain(db, trustor.domain_id) if trustor else None
    if trustor is None or not trustor.enabled or home is None or not home.enabled:
        raise Forbidden("Trustor is disabled.")
    own = await _project_scope(db, trustor, await PROJECTS.get(db, trust.project_id))
    if own.project is None or not {*trust.role_ids} <= {role.id for role in own.roles}:
        raise Forbidden("The trustor no longer has the roles of the trust on its project.")
    return Scope(project=own.project, roles=await expand(db, trust.role_ids), trust=trust)


async def _project(db: Reader, given: NamedIn) -> Project | None:
    if given.id is not None:
        return await PROJECTS.get(db, given.id)
    if given.name is None:
        raise Invalid("Expecting to find id or name in project.", field="project")
    domain = await _domain(db, given.domain, "project")
    return await project_named(db, given.name, domain.id) if domain else None


async def _project_scope(db: Reader, user: User, project: Project | None) -> Scope:
    if project is None or not project.enabled:
        return Scope()
    if not project.is_domain:
        domain = await get_domain(db, project.domain_id)
        if domain is None or not domain.enabled:
            return Scope()
    return Scope(project=project, roles=await assignments.roles_on_project(db, user.id, project))


async def _domain_scope(db: Reader, user: User, domain: Project | None) -> Scope:
    if domain is None or not domain.enabled:
        return Scope()
    return Scope(domain=domain, roles=await assignments.roles_on_domain(db, user.id, domain.id))


async def _default_scope(db: Reader, user: User) -> Scope:
    """The user's default project, if it has roles there; else the token is unscoped."""
    if user.default_project_id is None:
        return Scope()
    scope = await _project_scope(db, user, await PROJECTS.get(db, user.default_project_id))
    return scope if scope.roles else Scope()


async def _credential_scope(db: Reader, login: Login, asked: dict[str, Any] | str | None) -> Scope:
    """The credential's project, with those of its roles that its owner still has."""
    assert login.credential
    if asked is not None and "token" not in login.methods:
        raise Unauthorized("Error authenticating with application credential: Application credentials cannot request a scope.")
    scope = await _project_scope(db, login.user, await PROJECTS.get(db, login.credential.project_id))
    given = {role.id for role in await expand(db, login.credential.role_ids)}
    scope.roles = [role for role in scope.roles if role.id in given]
    if not scope.roles or scope.project is None:
        raise Unauthorized(INVALID)
    project = asked.get("project") if isinstance(asked, dict) else None
    if asked is not None and not (isinstance(project, dict) and project.get("id") == scope.project.id):
        raise Forbidden("A token of an application credential can't be scoped to anything but the credential's project.")
    return scope
