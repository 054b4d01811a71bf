"""The routes of unified limits."""

from pileus.api.identity import limits
from pileus.api.identity import registered_limits as registered
from pileus.api.routes import Route, route

L, R = "/v3/limits", "/v3/registered_limits"

# fmt: off
LIMIT_ROUTES: list[Route] = [
    route("GET",    R,                            registered.list_registered_limits, "identity:list_registered_limits"),
    route("POST",   R,                            registered.create_registered_limits, "identity:create_registered_limits",
          body=registered.CreateRegisteredLimits, success=201),
    route("GET",    R + "/{registered_limit_id}", registered.show_registered_limit, "identity:get_registered_limit"),
    route("PATCH",  R + "/{registered_limit_id}", registered.update_registered_limit, "identity:update_registered_limit",
          body=registered.UpdateRegisteredLimit),
    route("DELETE", R + "/{registered_limit_id}", registered.remove_registered_limit, "identity:delete_registered_limit", success=204),
    route("GET",    L + "/model",                 limits.show_model, "identity:get_limit_model"),
    route("GET",    L,                            limits.list_limits, "identity:list_limits"),
    route("POST",   L,                            limits.create_limits, "identity:create_limits", body=limits.CreateLimits, success=201),
    route("GET",    L + "/{limit_id}",            limits.show_limit, "identity:get_limit"),
    route("PATCH",  L + "/{limit_id}",            limits.update_limit, "identity:update_limit", body=limits.UpdateLimit),
    route("DELETE", L + "/{limit_id}",            limits.remove_limit, "identity:delete_limit", success=204),
]
# fmt: on
