"""Who may use the identity service. Domain and system readers are no personas here: tests/api/identity/test_scopes.py has them."""

from typing import Any

from pileus.api.identity.policy import POLICY
from tests.api.access import ADMIN, READERS
from tests.api.harness import TestCloud

OPEN = {
    "GET /",
    "GET /v3",
    "POST /v3/auth/tokens",
    "POST /v3/users/{user_id}/password",
    "POST /v3/OS-OAUTH1/request_token",
    "POST /v3/OS-OAUTH1/access_token",
}

WITH_A_TOKEN = {
    "identity:auth",
    "identity:unavailable",
    "identity:get_domain",
    "identity:get_project",
    "identity:list_project_tags",
    "identity:list_user_projects",
    "identity:get_user",
    "identity:list_groups_for_user",
    "identity:list_regions",
    "identity:get_region",
    "identity:list_application_credentials",
    "identity:get_application_credential",
    "identity:create_application_credential",
    "identity:delete_application_credential",
    "identity:list_credentials",
    "identity:get_credential",
    "identity:create_credential",
    "identity:update_credential",
    "identity:delete_credential",
    "identity:list_access_rules",
    "identity:get_access_rule",
    "identity:delete_access_rule",
    "identity:ec2_list_credentials",
    "identity:ec2_create_credential",
    "identity:ec2_get_credential",
    "identity:ec2_delete_credential",
    "identity:list_trusts",
    "identity:delete_access_token",
    "identity:get_security_compliance_domain_config",
    "identity:get_limit_model",
    "identity:get_limit",
    "identity:list_limits",
    "identity:get_registered_limit",
    "identity:list_registered_limits",
    "identity:create_trust",
    "identity:get_trust",
    "identity:delete_trust",
    "identity:list_roles_for_trust",
    "identity:get_role_for_trust",
}
"""Open to all by role; whose resource it is decides then."""

ADMINS = {
    f"identity:{verb}_{kind}"
    for verb in ("create", "update", "delete")
    for kind in ("domain", "project", "user", "group", "role", "region", "service", "endpoint")
} | {
    f"identity:{action}"
    for action in [
        "list_domains",
        "get_domain_config",
        "get_domain_config_default",
        "create_domain_config",
        "update_domain_config",
        "delete_domain_config",
        "list_consumers",
        "get_consumer",
        "create_consumer",
        "update_consumer",
        "delete_consumer",
        "authorize_request_token",
        "list_access_tokens",
        "get_access_token",
        "list_access_token_roles",
        "get_access_token_role",
        "create_limits",
        "update_limit",
        "delete_limit",
        "create_registered_limits",
        "update_registered_limit",
        "delete_registered_limit",
        "list_endpoint_groups",
        "get_endpoint_group",
        "list_endpoints_associated_with_endpoint_group",
        "list_projects_associated_with_endpoint_group",
        "get_endpoint_group_in_project",
        "list_endpoints_for_project",
        "list_endpoint_groups_for_project",
        "check_endpoint_in_project",
        "list_projects_for_endpoint",
        "list_policies",
        "get_policy",
        "create_endpoint_group",
        "update_endpoint_group",
        "delete_endpoint_group",
        "add_endpoint_group_to_project",
        "remove_endpoint_group_from_project",
        "add_endpoint_to_project",
        "remove_endpoint_from_project",
        "create_policy",
        "update_policy",
        "delete_policy",
        "update_project_tags",
        "list_projects",
        "list_users",
        "list_groups",
        "get_group",
        "list_users_in_group",
        "check_user_in_group",
        "add_user_to_group",
        "remove_user_from_group",
        "list_roles",
        "get_role",
        "list_implied_roles",
        "get_implied_role",
        "create_implied_role",
        "delete_implied_role",
        "list_role_inference_rules",
        "list_role_assignments",
        "list_grants",
        "check_grant",
        "create_grant",
        "revoke_grant",
        "list_services",
        "get_service",
        "list_endpoints",
        "get_endpoint",
    ]
}

ACCESS = {
    **dict.fromkeys(WITH_A_TOKEN, READERS),
    **dict.fromkeys(ADMINS, ADMIN),
    **{action: ADMIN for action in POLICY if "_system_grant" in action},
}


def belongings(cloud: TestCloud) -> list[tuple[str, str, Any]]:
    """Requests about project demo and its people."""
    v3 = "/identity/v3"
    project, user = f"{v3}/projects/{cloud.project_id()}", f"{v3}/users/{cloud.user_id('member')}"
    grant = f"{project}/users/{cloud.user_id('member')}/roles"
    made = cloud.call("POST", f"{user}/application_credentials", token="member", json={"application_credential": {"name": "mine"}})
    credential = f"{user}/application_credentials/{made.json['application_credential']['id']}"
    kept = cloud.call("POST", f"{v3}/credentials", token="member", json={"credential": {"type": "note", "blob": "secret"}})
    note = f"{v3}/credentials/{kept.json['credential']['id']}"
    return [
        ("GET", project, None),
        ("PATCH", project, {"project": {"name": "mine"}}),
        ("DELETE", project, None),
        ("GET", f"{project}/tags", None),
        ("PUT", f"{project}/tags", {"tags": ["mine"]}),
        ("GET", f"{v3}/projects/there-is-no-such-project", None),
        ("GET", user, None),
        ("PATCH", user, {"user": {"name": "mine"}}),
        ("DELETE", user, None),
        ("GET", f"{user}/projects", None),
        ("GET", f"{user}/groups", None),
        ("GET", f"{v3}/users/there-is-no-such-user", None),
        ("GET", grant, None),
        ("PUT", f"{grant}/there-is-no-such-role", None),
        ("GET", f"{user}/application_credentials", None),
        ("POST", f"{user}/application_credentials", {"application_credential": {"name": "for another"}}),
        ("GET", credential, None),
        ("DELETE", credential, None),
        ("GET", note, None),
        ("PATCH", note, {"credential": {"blob": "changed"}}),
        ("DELETE", note, None),
        ("POST", f"{v3}/credentials", {"credential": {"type": "note", "blob": "x", "user_id": cloud.user_id("member")}}),
    ]
