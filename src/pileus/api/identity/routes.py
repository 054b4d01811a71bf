"""The routes of the identity service."""

from pileus.api.faults import keystone_fault
from pileus.api.identity import auth_tokens, domains, project_tags, projects, versions
from pileus.api.identity.auth import AuthBody, create_token
from pileus.api.identity.policy import POLICY
from pileus.api.routes import PUBLIC, Service, route

P, D = "/v3/projects/{project_id}", "/v3/domains/{domain_id}"

# fmt: off
ROUTES = [
    route("GET",    "/",                         versions.versions,             PUBLIC),
    route("GET",    "/v3",                       versions.version,              PUBLIC),
    route("POST",   "/v3/auth/tokens",           create_token,                  PUBLIC, body=AuthBody, success=201),
    route("GET",    "/v3/auth/tokens",           auth_tokens.validate_token,    "identity:auth"),
    route("DELETE", "/v3/auth/tokens",           auth_tokens.revoke_token,      "identity:auth", success=204),
    route("GET",    "/v3/auth/catalog",          auth_tokens.show_catalog,      "identity:auth"),
    route("GET",    "/v3/auth/projects",         auth_tokens.list_projects,     "identity:auth"),
    route("GET",    "/v3/auth/domains",          auth_tokens.list_domains,      "identity:auth"),
    route("GET",    "/v3/auth/system",           auth_tokens.list_systems,      "identity:auth"),

    route("GET",    "/v3/domains",               domains.list_domains,          "identity:list_domains"),
    route("POST",   "/v3/domains",               domains.create_domain,         "identity:create_domain", body=domains.CreateDomain, success=201),
    route("GET",    D,                           domains.show_domain,           "identity:get_domain"),
    route("PATCH",  D,                           domains.update_domain,         "identity:update_domain", body=domains.UpdateDomain),
    route("DELETE", D,                           domains.remove_domain,         "identity:delete_domain", success=204),

    route("GET",    "/v3/projects",              projects.list_projects,        "identity:list_projects"),
    route("POST",   "/v3/projects",              projects.create_project,       "identity:create_project", body=projects.CreateProject, success=201),
    route("GET",    P,                           projects.show_project,         "identity:get_project"),
    route("PATCH",  P,                           projects.update_project,       "identity:update_project", body=projects.UpdateProject),
    route("DELETE", P,                           projects.remove_project,       "identity:delete_project", success=204),
    route("GET",    P + "/tags",                 project_tags.list_tags,        "identity:list_project_tags"),
    route("PUT",    P + "/tags",                 project_tags.put_tags,         "identity:update_project_tags", body=project_tags.PutTags),
    route("DELETE", P + "/tags",                 project_tags.delete_tags,      "identity:update_project_tags", success=204),
    route("GET",    P + "/tags/{tag}",           project_tags.check_tag,        "identity:list_project_tags", success=204),
    route("PUT",    P + "/tags/{tag}",           project_tags.put_tag,          "identity:update_project_tags", success=201),
    route("DELETE", P + "/tags/{tag}",           project_tags.delete_tag,       "identity:update_project_tags", success=204),
]
# fmt: on

SERVICE = Service(prefix="identity", name="keystone", type="identity", routes=ROUTES, policy=POLICY, fault=keystone_fault)
