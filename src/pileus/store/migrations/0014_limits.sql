-- Unified limits: what a service's resource is limited to unless said otherwise, and what was said otherwise for a project or domain.
CREATE TABLE registered_limits (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  service_id TEXT NOT NULL, region_id TEXT, resource_name TEXT NOT NULL, default_limit BIGINT NOT NULL, description TEXT
);
CREATE INDEX registered_limits_service ON registered_limits (service_id, resource_name);

CREATE TABLE unified_limits (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  registered_limit_id TEXT NOT NULL, project_id TEXT, domain_id TEXT, resource_limit BIGINT NOT NULL, description TEXT
);
CREATE INDEX unified_limits_project ON unified_limits (project_id);
CREATE INDEX unified_limits_domain ON unified_limits (domain_id);
CREATE INDEX unified_limits_registered ON unified_limits (registered_limit_id);
