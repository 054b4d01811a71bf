-- Identity: domains and projects, users, groups, roles, assignments, credentials, catalog, revoked tokens.
CREATE TABLE projects (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  name TEXT NOT NULL, domain_id TEXT NOT NULL, parent_id TEXT, is_domain BIGINT NOT NULL, enabled BIGINT NOT NULL,
  description TEXT NOT NULL, tags TEXT NOT NULL, options TEXT NOT NULL, extra TEXT NOT NULL,
  UNIQUE (domain_id, name)
);
CREATE INDEX projects_parent ON projects (parent_id);

CREATE TABLE users (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  name TEXT NOT NULL, domain_id TEXT NOT NULL, enabled BIGINT NOT NULL, default_project_id TEXT,
  password_hash TEXT, password_set_at DOUBLE PRECISION, password_expires_at DOUBLE PRECISION, options TEXT NOT NULL, extra TEXT NOT NULL,
  UNIQUE (domain_id, name)
);

CREATE TABLE user_groups (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  name TEXT NOT NULL, domain_id TEXT NOT NULL, description TEXT NOT NULL, extra TEXT NOT NULL,
  UNIQUE (domain_id, name)
);

CREATE TABLE group_members (
  group_id TEXT NOT NULL, user_id TEXT NOT NULL, PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_user ON group_members (user_id);

CREATE TABLE roles (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  name TEXT NOT NULL, domain_id TEXT NOT NULL, description TEXT, options TEXT NOT NULL, extra TEXT NOT NULL,
  UNIQUE (domain_id, name)
);

CREATE TABLE implied_roles (
  prior_id TEXT NOT NULL, implied_id TEXT NOT NULL, PRIMARY KEY (prior_id, implied_id)
);

CREATE TABLE assignments (
  actor TEXT NOT NULL, actor_id TEXT NOT NULL, target TEXT NOT NULL, target_id TEXT NOT NULL, role_id TEXT NOT NULL, inherited BIGINT NOT NULL,
  PRIMARY KEY (actor_id, target_id, role_id, inherited, actor, target)
);
CREATE INDEX assignments_target ON assignments (target_id);

CREATE TABLE application_credentials (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  name TEXT NOT NULL, user_id TEXT NOT NULL, project_id TEXT NOT NULL, secret_hash TEXT NOT NULL, description TEXT, role_ids TEXT NOT NULL,
  expires_at DOUBLE PRECISION, unrestricted BIGINT NOT NULL,
  UNIQUE (user_id, name)
);

CREATE TABLE credentials (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  user_id TEXT NOT NULL, project_id TEXT, type TEXT NOT NULL, sealed_blob TEXT NOT NULL, extra TEXT NOT NULL
);
CREATE INDEX credentials_user ON credentials (user_id);

CREATE TABLE regions (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  description TEXT NOT NULL, parent_region_id TEXT, extra TEXT NOT NULL
);

CREATE TABLE catalog_services (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  type TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, enabled BIGINT NOT NULL, extra TEXT NOT NULL
);

CREATE TABLE catalog_endpoints (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  service_id TEXT NOT NULL, interface TEXT NOT NULL, url TEXT NOT NULL, region_id TEXT, enabled BIGINT NOT NULL, extra TEXT NOT NULL
);

-- Tokens that the key stands for are void when they were issued up to then.
CREATE TABLE revocation_events (
  id TEXT PRIMARY KEY, issued_before DOUBLE PRECISION NOT NULL
);
CREATE INDEX revocation_events_time ON revocation_events (issued_before);
