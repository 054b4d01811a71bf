-- What users delegate: trusts, and what application credentials may reach.
CREATE TABLE trusts (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  trustor_user_id TEXT NOT NULL, trustee_user_id TEXT NOT NULL, project_id TEXT NOT NULL, impersonation BIGINT NOT NULL, role_ids TEXT NOT NULL,
  expires_at DOUBLE PRECISION, remaining_uses BIGINT, redelegation_count BIGINT NOT NULL, redelegated_trust_id TEXT
);
CREATE INDEX trusts_trustor ON trusts (trustor_user_id);
CREATE INDEX trusts_trustee ON trusts (trustee_user_id);
CREATE INDEX trusts_project ON trusts (project_id);

CREATE TABLE access_rules (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  user_id TEXT NOT NULL, service TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,
  UNIQUE (user_id, service, method, path)
);

ALTER TABLE application_credentials ADD COLUMN access_rule_ids TEXT;
