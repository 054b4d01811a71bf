"""What was asked of a server, and the steps that were done about it."""

from pileus.model.base import Model


class Action(Model, frozen=True, kw_only=True):
    """One request about a server. `message` is "Error" once a step of it has failed, as with Nova."""

    id: str
    server_id: str
    request_id: str
    action: str  # create, stop, reboot, ...
    user_id: str | None = None
    project_id: str | None = None
    message: str | None = None
    started_at: float
    updated_at: float


class ActionEvent(Model, frozen=True, kw_only=True):
    """A step of an action. `result` is Success or Error, None while it is at work; `details` tells a failure to the server's owner."""

    id: str
    action_id: str
    event: str
    started_at: float
    finished_at: float | None = None
    result: str | None = None
    details: str | None = None
    traceback: str | None = None
    host: str | None = None
