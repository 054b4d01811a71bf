"""Who may do what with the identity service.

`anyone` with a remark: the token alone does not decide, the handler looks whose resource it is (`visibility.py`).
"""

POLICY: dict[str, str] = {
    # The caller's own token; another's needs the two below, checked in the handler.
    "identity:auth": "anyone",
    "identity:validate_token": "identity_validator",
    "identity:revoke_token": "admin",
    # Domains: of the token's own domain, its holder may read.
    "identity:list_domains": "domain_reader",
    "identity:get_domain": "anyone",
    "identity:create_domain": "admin",
    "identity:update_domain": "admin",
    "identity:delete_domain": "admin",
    # Projects: members read their own; managers of a domain keep those in it.
    "identity:list_projects": "domain_reader",
    "identity:get_project": "anyone",
    "identity:create_project": "domain_manager",
    "identity:update_project": "domain_manager",
    "identity:delete_project": "domain_manager",
    "identity:list_project_tags": "anyone",
    "identity:update_project_tags": "identity_project_manager",
}
