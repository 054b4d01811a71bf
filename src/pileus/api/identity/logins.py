"""What each method of a login shows: by a password, by a token, by an application credential."""

import msgspec

from pileus import clock
from pileus.api.identity import directories, password_rules, passwords
from pileus.api.identity.documents import tokens_of
from pileus.api.identity.login_bodies import ApplicationCredentialMethod, Named, NamedIn, PasswordUser
from pileus.api.identity.tokens import INVALID
from pileus.api.request import Request
from pileus.model.application_credentials import ApplicationCredential
from pileus.model.errors import Forbidden, Invalid, NotFound, Unauthorized
from pileus.model.identity import FederatedLogin
from pileus.model.oauth1 import AccessToken
from pileus.model.projects import Project
from pileus.model.users import User
from pileus.store.application_credentials import APPLICATION_CREDENTIALS, credential_named
from pileus.store.database import Reader
from pileus.store.domains import domain_named, get_domain
from pileus.store.users import USERS, user_named


class Login(msgspec.Struct, kw_only=True):
    """What the methods have shown. `latest` bounds the token's life, `chain` is the audit id of the first token."""

    user: User
    methods: list[str]
    latest: float
    chain: str | None = None
    credential: ApplicationCredential | None = None
    access_token: AccessToken | None = None
    federation: FederatedLogin | None = None

    @property
    def said(self) -> tuple[str, ...]:
        """The groups that the user's identity provider says for this login."""
        return self.federation.group_ids if self.federation else ()

    @property
    def delegated(self) -> bool:
        """Whether it shows no user, but what one has lent: no other method can be added to that."""
        return self.credential is not None or self.access_token is not None


async def by_password(request: Request, given: PasswordUser) -> Login:
    """By name and password; that the password has expired is told to who knows it alone."""
    user = await find_user(request, given)
    checked = user.password_hash if user else None
    with request.cloud.login_limits.attempt(user.id if user else claimed(given), request.remote_address) as attempt:
        right = await password_rules.verify(request, user, given.password)
        user = await USERS.get(request.cloud.db, user.id) if user else None  # logins wait: it may have been disabled or changed meanwhile
        attempt.right = right and user is not None and user.password_hash == checked
    if user is None or not attempt.right:
        raise Unauthorized(INVALID)
    if password_rules.has_expired(user):
        raise Unauthorized(f"The password is expired and needs to be changed for user: {user.id}.")
    return Login(user=user, methods=["password"], latest=float("inf"))


def claimed(given: NamedIn) -> str:
    """What a user is called that is not there."""
    domain = given.domain or Named()
    return f"?{given.id or ''}\0{given.name or ''}\0{domain.id or ''}\0{domain.name or ''}"


async def by_token(request: Request, text: str) -> Login:
    """By a token: what it was made by counts again."""
    try:
        identity = tokens_of(request).validate(text)
    except Unauthorized as error:
        raise NotFound("Could not find token.") from error
    if identity.trust_id:
        raise Forbidden("A token of a trust can't be exchanged for another; log in by password, with the trust as the scope.")
    if identity.access_token_id or "ec2credential" in identity.methods:
        raise Forbidden("A token of an access token or an EC2 key can't be exchanged for another; sign a request for a new one.")
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
        federation=identity.federation,
    )


async def demand_enabled(request: Request, user: User) -> None:
    """Unauthorized unless the user and its domain are enabled; one in a directory must be so there."""
    current = await directories.as_of_now(request, user)
    domain = await get_domain(request.cloud.db, user.domain_id)
    if current is None or not password_rules.is_enabled(request, current) or domain is None or not domain.enabled:
        raise Unauthorized(INVALID)


async def by_application_credential(request: Request, given: ApplicationCredentialMethod) -> Login:
    """By an application credential and its secret."""
    db = request.cloud.db
    credential: ApplicationCredential | None = None
    if given.id is not None:
        credential = await APPLICATION_CREDENTIALS.get(db, given.id)
    elif given.name is not None and given.user is not None:
        owner = await find_user(request, given.user)
        credential = await credential_named(db, given.name, owner.id) if owner else None
    else:
        raise Invalid("An application credential is named by its id, or by its name and user.", field="application_credential")
    name = credential.id if credential else f"{claimed(given)}\0{claimed(given.user or NamedIn())}"
    with request.cloud.login_limits.attempt(name, request.remote_address) as attempt:
        attempt.right = right = await passwords.verify(credential.secret_hash if credential else None, given.secret)
    credential = await APPLICATION_CREDENTIALS.get(db, credential.id) if credential else None  # it may have been removed meanwhile
    if credential is None or not right or (credential.expires_at is not None and credential.expires_at <= clock.now()):
        raise Unauthorized(INVALID)
    user = await USERS.get(db, credential.user_id)
    if user is None:
        raise Unauthorized(INVALID)
    return Login(user=user, methods=["application_credential"], latest=credential.expires_at or float("inf"), credential=credential)


async def find_user(request: Request, given: NamedIn) -> User | None:
    """The user by id, or by name and domain; one in a directory, as that has it now."""
    db = request.cloud.db
    if given.id is not None:
        await directories.see_user(request, given.id)
        return await USERS.get(db, given.id)
    if given.name is None:
        raise Invalid("Expecting to find id or name in user.", field="user")
    domain = await find_domain(db, given.domain, "user")
    directory = await directories.directory_of(request, domain.id) if domain else None
    if directory is not None:
        return await directories.user_called(request, directory, given.name)
    return await user_named(db, given.name, domain.id) if domain else None


async def find_domain(db: Reader, given: Named | None, of: str) -> Project | None:
    """The domain by id or name; Invalid when neither is said."""
    if given is None or (given.id is None and given.name is None):
        raise Invalid(f"Expecting to find domain in {of}.", field="domain")
    return await get_domain(db, given.id) if given.id is not None else await domain_named(db, given.name or "")
