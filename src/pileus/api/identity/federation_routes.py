"""The routes of federation."""

from pileus.api.identity import auth_tokens, federated_auth, mappings, openid_settings, websso
from pileus.api.identity import identity_providers as idps
from pileus.api.identity import service_providers as sps
from pileus.api.routes import PUBLIC, Route, route

F = "/v3/OS-FEDERATION"
SSO = "/v3/auth/OS-FEDERATION"
IDP, M, S = F + "/identity_providers/{idp_id}", F + "/mappings/{mapping_id}", F + "/service_providers/{service_provider_id}"
P = IDP + "/protocols/{protocol_id}"
BROWSER = SSO + "/identity_providers/{idp_id}/protocols/{protocol_id}"

# fmt: off
FEDERATION_ROUTES: list[Route] = [
    route("GET",    F + "/identity_providers", idps.list_providers,  "identity:list_identity_providers"),
    route("GET",    IDP,                       idps.show_provider,   "identity:get_identity_provider"),
    route("PUT",    IDP,                       idps.create_provider, "identity:create_identity_provider",
          body=idps.CreateProvider, success=201),
    route("PATCH",  IDP,                       idps.update_provider, "identity:update_identity_provider", body=idps.UpdateProvider),
    route("DELETE", IDP,                       idps.remove_provider, "identity:delete_identity_provider", success=204),
    route("GET",    IDP + "/protocols",        idps.list_protocols,  "identity:list_protocols"),
    route("GET",    P,                         idps.show_protocol,   "identity:get_protocol"),
    route("PUT",    P,                         idps.create_protocol, "identity:create_protocol", body=idps.CreateProtocol, success=201),
    route("PATCH",  P,                         idps.update_protocol, "identity:update_protocol", body=idps.UpdateProtocol),
    route("DELETE", P,                         idps.remove_protocol, "identity:delete_protocol", success=204),
    route("GET",    P + "/auth",               federated_auth.authenticate, PUBLIC, success=201),
    route("POST",   P + "/auth",               federated_auth.authenticate, PUBLIC, success=201, stream=True),
    route("GET",    SSO + "/websso/{protocol_id}", websso.begin_anywhere, PUBLIC),
    route("POST",   SSO + "/websso/{protocol_id}", websso.begin_anywhere, PUBLIC, stream=True),
    route("GET",    BROWSER + "/websso",       websso.begin,                 PUBLIC),
    route("POST",   BROWSER + "/websso",       websso.begin,                 PUBLIC, stream=True),
    route("GET",    BROWSER + "/callback",     websso.come_back,             PUBLIC),
    route("GET",    P + "/openid",             openid_settings.show_settings,   "identity:get_openid_settings"),
    route("PUT",    P + "/openid",             openid_settings.put_settings,    "identity:update_openid_settings",
          body=openid_settings.PutSettings),
    route("DELETE", P + "/openid",             openid_settings.remove_settings, "identity:delete_openid_settings", success=204),
    route("GET",    F + "/mappings",           mappings.list_mappings,  "identity:list_mappings"),
    route("GET",    M,                         mappings.show_mapping,   "identity:get_mapping"),
    route("PUT",    M,                         mappings.create_mapping, "identity:create_mapping", body=mappings.PutMapping, success=201),
    route("PATCH",  M,                         mappings.update_mapping, "identity:update_mapping", body=mappings.PutMapping),
    route("DELETE", M,                         mappings.remove_mapping, "identity:delete_mapping", success=204),
    route("GET",    F + "/service_providers",  sps.list_providers,   "identity:list_service_providers"),
    route("GET",    S,                         sps.show_provider,    "identity:get_service_provider"),
    route("PUT",    S,                         sps.create_provider,  "identity:create_service_provider",
          body=sps.CreateProvider, success=201),
    route("PATCH",  S,                         sps.update_provider,  "identity:update_service_provider", body=sps.UpdateProvider),
    route("DELETE", S,                         sps.remove_provider,  "identity:delete_service_provider", success=204),
    route("GET",    F + "/projects",           auth_tokens.list_projects, "identity:auth"),
    route("GET",    F + "/domains",            auth_tokens.list_domains,  "identity:auth"),
]
# fmt: on
