"""The errors of pileus. A docstring is the default message, the fields are data; `api/faults.py` alone maps them to HTTP."""

from typing import Any


class PileusError(Exception):
    """Something went wrong."""

    def __init__(self, message: str = "", **data: Any) -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])
        self.data = data

    @property
    def message(self) -> str:
        """What to tell the user."""
        return str(self.args[0])


class Invalid(PileusError):
    """The request is not valid."""


class Unauthorized(PileusError):
    """The request you have made requires authentication."""


class Forbidden(PileusError):
    """You are not authorized to perform the requested action."""


class NotFound(PileusError):
    """The resource could not be found."""


class Conflict(PileusError):
    """The request conflicts with the state of the resource."""


class QuotaExceeded(PileusError):
    """Quota exceeded."""


class NoCapacity(PileusError):
    """No valid host was found."""


class TooLarge(PileusError):
    """The request is larger than what is accepted."""


class UnsupportedMediaType(PileusError):
    """The body's media type is not supported."""


class Gone(PileusError):
    """The resource is no longer there."""


class NotImplementedYet(PileusError):
    """This is not done yet; see the list of gaps in the documentation."""


class NotAcceptable(PileusError):
    """The version asked for is not supported."""


class Unavailable(PileusError):
    """The service can't answer now; try again."""


class NodeFailed(PileusError):
    """A node could not do what it was asked to."""
