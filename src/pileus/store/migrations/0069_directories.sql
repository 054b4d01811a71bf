-- Users and groups that stand for entries of their domain's directory (LDAP).
CREATE TABLE directory_ids (id TEXT PRIMARY KEY, domain_id TEXT NOT NULL, kind TEXT NOT NULL, local_id TEXT NOT NULL, dn TEXT NOT NULL);
CREATE INDEX directory_ids_domain ON directory_ids (domain_id, kind);
