"""What a login sends: the methods with what each needs, and the scope."""

from typing import Annotated, Any

from msgspec import Meta

from pileus.model.base import Model


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


class PasscodeUser(NamedIn, frozen=True, kw_only=True):
    """Who logs in by a one-time password."""

    passcode: Annotated[str, Meta(max_length=64)]


class PasscodeMethod(Model, frozen=True, kw_only=True):
    """The totp method."""

    user: PasscodeUser


class ApplicationCredentialMethod(NamedIn, frozen=True, kw_only=True):
    """The application credential method: by id, or by name and user."""

    secret: str
    user: NamedIn | None = None


class MappedMethod(Model, frozen=True, kw_only=True):
    """Who is known to an identity provider: by a federated token, or by the provider's own in the header Authorization."""

    id: str | None = None
    identity_provider: str | None = None
    protocol: str | None = None


class Methods(Model, frozen=True, kw_only=True):
    """How the caller shows who it is."""

    methods: list[str]
    password: PasswordMethod | None = None
    token: TokenMethod | None = None
    application_credential: ApplicationCredentialMethod | None = None
    totp: PasscodeMethod | None = None
    oauth1: dict[str, Any] | None = None
    mapped: MappedMethod | None = None
    openid: MappedMethod | None = None


class Auth(Model, frozen=True, kw_only=True):
    """Who, and for what."""

    identity: Methods
    scope: dict[str, Any] | str | None = None


class AuthBody(Model, frozen=True, kw_only=True):
    """POST /v3/auth/tokens."""

    auth: Auth
