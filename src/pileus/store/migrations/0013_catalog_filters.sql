-- Which endpoints a project sees, and documents of policy that other services may read.
CREATE TABLE endpoint_groups (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  name TEXT NOT NULL, description TEXT, filters TEXT NOT NULL
);

CREATE TABLE endpoint_group_projects (
  endpoint_group_id TEXT NOT NULL, project_id TEXT NOT NULL, PRIMARY KEY (endpoint_group_id, project_id)
);
CREATE INDEX endpoint_group_projects_project ON endpoint_group_projects (project_id);

CREATE TABLE project_endpoints (
  project_id TEXT NOT NULL, endpoint_id TEXT NOT NULL, PRIMARY KEY (project_id, endpoint_id)
);

CREATE TABLE catalog_policies (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  type TEXT NOT NULL, document TEXT NOT NULL, extra TEXT NOT NULL
);
