"""The routes of the identity service."""

from functools import partial

from pileus.api.faults import keystone_fault
from pileus.api.identity import (
    access_rules,
    auth_tokens,
    credentials,
    domains,
    ec2_credentials,
    endpoints,
    groups,
    oauth2,
    project_tags,
    projects,
    regions,
    revocation_events,
    roles,
    services,
    signature_logins,
    trusts,
    users,
    versions,
)
from pileus.api.identity import application_credentials as appcreds
from pileus.api.identity.auth import create_token
from pileus.api.identity.catalog_routes import CATALOG_ROUTES
from pileus.api.identity.domain_routes import DOMAIN_ROUTES
from pileus.api.identity.federation_routes import FEDERATION_ROUTES
from pileus.api.identity.grants import grant_routes
from pileus.api.identity.limit_routes import LIMIT_ROUTES
from pileus.api.identity.login_bodies import AuthBody
from pileus.api.identity.oauth1_routes import OAUTH1_ROUTES
from pileus.api.identity.policy import POLICY
from pileus.api.identity.role_assignments import list_role_assignments
from pileus.api.identity.unavailable import unavailable_routes
from pileus.api.routes import PUBLIC, Service, route

P, D, U, G = "/v3/projects/{project_id}", "/v3/domains/{domain_id}", "/v3/users/{user_id}", "/v3/groups/{group_id}"
R, IMPLIED, M = "/v3/roles/{role_id}", "/v3/roles/{role_id}/implies/{implied_id}", "/v3/groups/{group_id}/users/{user_id}"
A, C = "/v3/users/{user_id}/application_credentials", "/v3/credentials/{credential_id}"
RULES, EC2 = "/v3/users/{user_id}/access_rules", "/v3/users/{user_id}/credentials/OS-EC2"
TRUSTS, TRUST = "/v3/OS-TRUST/trusts", "/v3/OS-TRUST/trusts/{trust_id}"
REGION, S, E = "/v3/regions/{region_id}", "/v3/services/{service_id}", "/v3/endpoints/{endpoint_id}"

create = partial(route, "POST", success=201)

# fmt: off
ROUTES = [
    route("GET",    "/",                         versions.versions,             PUBLIC),
    route("GET",    "/v3",                       versions.version,              PUBLIC),
    create(         "/v3/auth/tokens",           create_token,                  PUBLIC, body=AuthBody),
    route("GET",    "/v3/auth/tokens",           auth_tokens.validate_token,    "identity:auth"),
    route("DELETE", "/v3/auth/tokens",           auth_tokens.revoke_token,      "identity:auth", success=204),
    route("GET",    "/v3/auth/catalog",          auth_tokens.show_catalog,      "identity:auth"),
    route("GET",    "/v3/auth/projects",         auth_tokens.list_projects,     "identity:auth"),
    route("GET",    "/v3/auth/domains",          auth_tokens.list_domains,      "identity:auth"),
    route("GET",    "/v3/auth/system",           auth_tokens.list_systems,      "identity:auth"),

    route("GET",    "/v3/domains",               domains.list_domains,          "identity:list_domains"),
    create(         "/v3/domains",               domains.create_domain,         "identity:create_domain", body=domains.CreateDomain),
    route("GET",    D,                           domains.show_domain,           "identity:get_domain"),
    route("PATCH",  D,                           domains.update_domain,         "identity:look_up", body=domains.UpdateDomain),
    route("DELETE", D,                           domains.remove_domain,         "identity:delete_domain", success=204),

    route("GET",    "/v3/projects",              projects.list_projects,        "identity:list_projects"),
    create(         "/v3/projects",              projects.create_project,       "identity:create_project", body=projects.CreateProject),
    route("GET",    P,                           projects.show_project,         "identity:get_project"),
    route("PATCH",  P,                           projects.update_project,       "identity:update_project", body=projects.UpdateProject),
    route("DELETE", P,                           projects.remove_project,       "identity:delete_project", success=204),
    route("GET",    P + "/tags",                 project_tags.list_tags,        "identity:list_project_tags"),
    route("PUT",    P + "/tags",                 project_tags.put_tags,         "identity:update_project_tags", body=project_tags.PutTags),
    route("DELETE", P + "/tags",                 project_tags.delete_tags,      "identity:update_project_tags", success=204),
    route("GET",    P + "/tags/{tag}",           project_tags.check_tag,        "identity:list_project_tags", success=204),
    route("PUT",    P + "/tags/{tag}",           project_tags.put_tag,          "identity:update_project_tags", success=201),
    route("DELETE", P + "/tags/{tag}",           project_tags.delete_tag,       "identity:update_project_tags", success=204),

    route("GET",    "/v3/users",                 users.list_users,              "identity:list_users"),
    create(         "/v3/users",                 users.create_user,             "identity:create_user", body=users.CreateUser),
    route("GET",    U,                           users.show_user,               "identity:get_user"),
    route("PATCH",  U,                           users.update_user,             "identity:update_user", body=users.UpdateUser),
    route("DELETE", U,                           users.remove_user,             "identity:delete_user", success=204),
    route("POST",   U + "/password",             users.change_password,         PUBLIC, body=users.ChangePassword, success=204),
    route("DELETE", U + "/tokens",               users.revoke_tokens,            "identity:revoke_tokens_for_user", success=204),
    route("GET",    U + "/projects",             projects.list_user_projects,   "identity:list_user_projects"),
    route("GET",    U + "/groups",               groups.list_user_groups,       "identity:list_groups_for_user"),

    route("GET",    "/v3/groups",                groups.list_groups,            "identity:list_groups"),
    create(         "/v3/groups",                groups.create_group,           "identity:create_group", body=groups.CreateGroup),
    route("GET",    G,                           groups.show_group,             "identity:get_group"),
    route("PATCH",  G,                           groups.update_group,           "identity:update_group", body=groups.UpdateGroup),
    route("DELETE", G,                           groups.remove_group,           "identity:look_up", success=204),
    route("GET",    G + "/users",                groups.list_members,           "identity:list_users_in_group"),
    route("GET",    M,                           groups.check_member,           "identity:check_user_in_group", success=204),
    route("PUT",    M,                           groups.put_member,             "identity:add_user_to_group", success=204),
    route("DELETE", M,                           groups.delete_member,          "identity:remove_user_from_group", success=204),

    route("GET",    "/v3/roles",                 roles.list_roles,              "identity:list_roles"),
    create(         "/v3/roles",                 roles.create_role,             "identity:create_role", body=roles.CreateRole),
    route("GET",    R,                           roles.show_role,               "identity:look_up"),
    route("PATCH",  R,                           roles.update_role,             "identity:look_up", body=roles.UpdateRole),
    route("DELETE", R,                           roles.remove_role,             "identity:look_up", success=204),
    route("GET",    R + "/implies",              roles.list_implied,            "identity:list_implied_roles"),
    route("GET",    IMPLIED,                     roles.show_implied,            "identity:get_implied_role"),
    route("HEAD",   IMPLIED,                     roles.check_implied,           "identity:get_implied_role", success=204),
    route("PUT",    IMPLIED,                     roles.put_implied,             "identity:create_implied_role", success=201),
    route("DELETE", IMPLIED,                     roles.delete_implied,          "identity:delete_implied_role", success=204),
    route("GET",    "/v3/role_inferences",       roles.list_inferences,         "identity:list_role_inference_rules"),
    route("GET",    "/v3/role_assignments",      list_role_assignments,         "identity:list_role_assignments"),
    *grant_routes(),

    route("GET",    "/v3/regions",               regions.list_regions,          "identity:list_regions"),
    create(         "/v3/regions",               regions.create_region,         "identity:create_region", body=regions.RegionBody),
    route("GET",    REGION,                      regions.show_region,           "identity:get_region"),
    route("PUT",    REGION,                      regions.create_region,         "identity:create_region", body=regions.RegionBody,
          success=201),
    route("PATCH",  REGION,                      regions.update_region,         "identity:update_region", body=regions.RegionBody),
    route("DELETE", REGION,                      regions.remove_region,         "identity:delete_region", success=204),
    route("GET",    "/v3/services",              services.list_services,        "identity:list_services"),
    create(         "/v3/services",              services.create_service,       "identity:create_service", body=services.CreateService),
    route("GET",    S,                           services.show_service,         "identity:get_service"),
    route("PATCH",  S,                           services.update_service,       "identity:update_service", body=services.UpdateService),
    route("DELETE", S,                           services.remove_service,       "identity:delete_service", success=204),
    route("GET",    "/v3/endpoints",             endpoints.list_endpoints,      "identity:list_endpoints"),
    create(         "/v3/endpoints",             endpoints.create_endpoint,     "identity:create_endpoint", body=endpoints.CreateEndpoint),
    route("GET",    E,                           endpoints.show_endpoint,       "identity:get_endpoint"),
    route("PATCH",  E,                           endpoints.update_endpoint,     "identity:update_endpoint", body=endpoints.UpdateEndpoint),
    route("DELETE", E,                           endpoints.remove_endpoint,     "identity:delete_endpoint", success=204),

    route("GET",    A,                           appcreds.list_credentials,     "identity:list_application_credentials"),
    create(         A,                           appcreds.create_credential,    "identity:create_application_credential",
          body=appcreds.CreateCredential),
    route("GET",    A + "/{credential_id}",      appcreds.show_credential,      "identity:get_application_credential"),
    route("DELETE", A + "/{credential_id}",      appcreds.remove_credential,    "identity:delete_application_credential", success=204),
    route("GET",    "/v3/credentials",           credentials.list_credentials,  "identity:list_credentials"),
    create(         "/v3/credentials",           credentials.create_credential, "identity:create_credential",
          body=credentials.CreateCredential),
    route("GET",    C,                           credentials.show_credential,   "identity:get_credential"),
    route("PATCH",  C,                           credentials.update_credential, "identity:update_credential",
          body=credentials.UpdateCredential),
    route("DELETE", C,                           credentials.remove_credential, "identity:delete_credential", success=204),
    route("GET",    RULES,                       access_rules.list_rules,       "identity:list_access_rules"),
    route("GET",    RULES + "/{rule_id}",        access_rules.show_rule,        "identity:get_access_rule"),
    route("DELETE", RULES + "/{rule_id}",        access_rules.remove_rule,      "identity:delete_access_rule", success=204),
    route("GET",    EC2,                         ec2_credentials.list_keys,     "identity:ec2_list_credentials"),
    create(         EC2,                         ec2_credentials.create_key,    "identity:ec2_create_credential",
          body=ec2_credentials.CreateKey),
    route("GET",    EC2 + "/{access}",           ec2_credentials.show_key,      "identity:look_up"),
    route("DELETE", EC2 + "/{access}",           ec2_credentials.remove_key,    "identity:look_up", success=204),

    route("GET",    TRUSTS,                      trusts.list_trusts,            "identity:list_trusts"),
    create(         TRUSTS,                      trusts.create_trust,           "identity:create_trust", body=trusts.CreateTrust),
    route("GET",    TRUST,                       trusts.show_trust,             "identity:get_trust"),
    route("DELETE", TRUST,                       trusts.remove_trust,           "identity:delete_trust", success=204),
    route("GET",    TRUST + "/roles",            trusts.list_trust_roles,       "identity:list_roles_for_trust"),
    route("GET",    TRUST + "/roles/{role_id}",  trusts.show_trust_role,        "identity:get_role_for_trust"),
    route("POST",   "/v3/ec2tokens",             signature_logins.ec2_token,    "identity:ec2tokens_validate",
          body=signature_logins.Signed),
    route("POST",   "/v3/s3tokens",              signature_logins.s3_token,     "identity:s3tokens_validate",
          body=signature_logins.Signed),
    route("POST",   "/v3/OS-OAUTH2/token",       oauth2.create_access_token,    PUBLIC, stream=True),
    route("GET",    "/v3/OS-REVOKE/events",      revocation_events.list_events, "identity:list_revoke_events"),
    route("GET",    "/v3/OS-SIMPLE-CERT/ca",     revocation_events.no_certificates, PUBLIC),
    route("GET",    "/v3/OS-SIMPLE-CERT/certificates", revocation_events.no_certificates, PUBLIC),
    *CATALOG_ROUTES,
    *LIMIT_ROUTES,
    *DOMAIN_ROUTES,
    *FEDERATION_ROUTES,
    *OAUTH1_ROUTES,
    *unavailable_routes(),
]
# fmt: on

SERVICE = Service(prefix="identity", name="keystone", type="identity", routes=ROUTES, policy=POLICY, fault=keystone_fault)
