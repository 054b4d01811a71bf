"""The routes of domains' configuration."""

from pileus.api.identity import domain_options as options
from pileus.api.routes import Route, route

C, DEFAULT = "/v3/domains/{domain_id}/config", "/v3/domains/config"
PLACES = (C, C + "/{group}", C + "/{group}/{option}")
DEFAULTS = (DEFAULT + "/default", DEFAULT + "/{group}/default", DEFAULT + "/{group}/{option}/default")
RULES = (C + "/security_compliance", C + "/security_compliance/{option}")

DOMAIN_ROUTES: list[Route] = [
    *(route("GET", place, options.show_defaults, "identity:get_domain_config_default") for place in DEFAULTS),
    *(route("GET", place, options.show_security_compliance, "identity:get_security_compliance_domain_config") for place in RULES),
    *(route("GET", place, options.show_options, "identity:get_domain_config") for place in PLACES),
    *(route("PATCH", place, options.update_options, "identity:update_domain_config", body=options.DomainOptions) for place in PLACES),
    *(route("DELETE", place, options.remove_options, "identity:delete_domain_config", success=204) for place in PLACES),
    route("PUT", C, options.put_options, "identity:create_domain_config", body=options.DomainOptions, success=201),
]
