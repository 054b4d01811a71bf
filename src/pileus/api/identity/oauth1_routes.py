"""The routes of OAuth 1."""

from pileus.api.identity import consumers
from pileus.api.identity import oauth1_tokens as tokens
from pileus.api.routes import PUBLIC, Route, route

OAUTH, CONSUMER = "/v3/OS-OAUTH1", "/v3/OS-OAUTH1/consumers/{consumer_id}"
GIVEN = "/v3/users/{user_id}/OS-OAUTH1/access_tokens"
TOKEN = GIVEN + "/{access_token_id}"

# fmt: off
OAUTH1_ROUTES: list[Route] = [
    route("GET",    OAUTH + "/consumers",     consumers.list_consumers,  "identity:list_consumers"),
    route("POST",   OAUTH + "/consumers",     consumers.create_consumer, "identity:create_consumer",
          body=consumers.CreateConsumer, success=201),
    route("GET",    CONSUMER,             consumers.show_consumer,   "identity:get_consumer"),
    route("PATCH",  CONSUMER,             consumers.update_consumer, "identity:update_consumer", body=consumers.UpdateConsumer),
    route("DELETE", CONSUMER,             consumers.remove_consumer, "identity:delete_consumer", success=204),
    route("POST",   OAUTH + "/request_token", tokens.create_request_token, PUBLIC, success=201, stream=True),
    route("POST",   OAUTH + "/access_token",  tokens.create_access_token,  PUBLIC, success=201, stream=True),
    route("PUT",    OAUTH + "/authorize/{request_token_id}", tokens.authorize, "identity:authorize_request_token", body=tokens.Authorize),
    route("GET",    GIVEN,                tokens.list_access_tokens, "identity:list_access_tokens"),
    route("GET",    TOKEN,                tokens.show_access_token,  "identity:get_access_token"),
    route("DELETE", TOKEN,                tokens.remove_access_token, "identity:delete_access_token", success=204),
    route("GET",    TOKEN + "/roles",     tokens.list_access_token_roles, "identity:list_access_token_roles"),
    route("GET",    TOKEN + "/roles/{role_id}", tokens.show_access_token_role, "identity:get_access_token_role"),
]
# fmt: on
