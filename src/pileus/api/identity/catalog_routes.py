"""The routes of what narrows the catalog, and of documents of policy."""

from functools import partial

from pileus.api.identity import endpoint_groups as groups
from pileus.api.identity import policies
from pileus.api.identity import policy_associations as associations
from pileus.api.routes import Route, route

F = "/v3/OS-EP-FILTER"
GROUP, PROJECT = F + "/endpoint_groups/{group_id}", F + "/projects/{project_id}"
IN_GROUP, GIVEN, POLICY = GROUP + "/projects/{project_id}", PROJECT + "/endpoints/{endpoint_id}", "/v3/policies/{policy_id}"
GROUPS, SINGLE = "endpoint_group", "endpoint"

KINDS = {"endpoint": "/endpoints/{endpoint_id}", "service": "/services/{service_id}",
         "region_and_service": "/services/{service_id}/regions/{region_id}"}  # fmt: skip
VERBS = [("GET", associations.check, "check"), ("PUT", associations.give, "create"), ("DELETE", associations.take, "delete")]
GIVEN_POLICY = POLICY + "/OS-ENDPOINT-POLICY"

# fmt: off
CATALOG_ROUTES: list[Route] = [
    route("GET",    F + "/endpoint_groups",          groups.list_groups, "identity:list_endpoint_groups"),
    route("POST",   F + "/endpoint_groups",          groups.create_group, "identity:create_endpoint_group",
          body=groups.CreateGroup, success=201),
    route("GET",    GROUP,                           groups.show_group, "identity:get_endpoint_group"),
    route("PATCH",  GROUP,                           groups.update_group, "identity:update_endpoint_group", body=groups.UpdateGroup),
    route("DELETE", GROUP,                           groups.remove_group, "identity:delete_endpoint_group", success=204),
    route("GET",    GROUP + "/endpoints",            groups.group_endpoints, "identity:list_endpoints_associated_with_endpoint_group"),
    route("GET",    GROUP + "/projects",             groups.group_projects, "identity:list_projects_associated_with_endpoint_group"),
    route("GET",    IN_GROUP,                        groups.show_link, "identity:get_endpoint_group_in_project"),
    route("PUT",    IN_GROUP,                        partial(groups.give, GROUPS), "identity:add_endpoint_group_to_project", success=204),
    route("DELETE", IN_GROUP,                        partial(groups.take, GROUPS), "identity:remove_endpoint_group_from_project",
          success=204),
    route("GET",    PROJECT + "/endpoints",          groups.endpoints_of_project, "identity:list_endpoints_for_project"),
    route("GET",    PROJECT + "/endpoint_groups",    groups.groups_of_project, "identity:list_endpoint_groups_for_project"),
    route("GET",    GIVEN,                           partial(groups.check, SINGLE), "identity:check_endpoint_in_project", success=204),
    route("PUT",    GIVEN,                           partial(groups.give, SINGLE), "identity:add_endpoint_to_project", success=204),
    route("DELETE", GIVEN,                           partial(groups.take, SINGLE), "identity:remove_endpoint_from_project", success=204),
    route("GET",    F + "/endpoints/{endpoint_id}/projects", groups.endpoint_projects, "identity:list_projects_for_endpoint"),

    route("GET",    "/v3/policies",                  policies.list_policies, "identity:list_policies"),
    route("POST",   "/v3/policies",                  policies.create_policy, "identity:create_policy",
          body=policies.CreatePolicy, success=201),
    route("GET",    POLICY,                          policies.show_policy, "identity:get_policy"),
    route("PATCH",  POLICY,                          policies.update_policy, "identity:update_policy", body=policies.UpdatePolicy),
    route("DELETE", POLICY,                          policies.remove_policy, "identity:delete_policy", success=204),
    *(route(method, GIVEN_POLICY + place, handler, f"identity:{verb}_policy_association_for_{kind}", success=204)
      for kind, place in KINDS.items() for method, handler, verb in VERBS),
    route("GET",    GIVEN_POLICY + "/endpoints",     associations.endpoints_of_policy, "identity:list_endpoints_for_policy"),
    route("GET",    "/v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy", associations.policy_of_endpoint,
          "identity:get_policy_for_endpoint"),
]
# fmt: on
