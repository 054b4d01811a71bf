-- Subnet pools, and which one a subnet was cut from.
CREATE TABLE subnet_pools (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  project_id TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, prefixes TEXT NOT NULL, ip_version BIGINT NOT NULL,
  default_prefixlen BIGINT NOT NULL, min_prefixlen BIGINT NOT NULL, max_prefixlen BIGINT NOT NULL, default_quota BIGINT,
  shared BIGINT NOT NULL, is_default BIGINT NOT NULL, tags TEXT NOT NULL
);
CREATE INDEX subnet_pools_project ON subnet_pools (project_id);
ALTER TABLE subnets ADD COLUMN subnetpool_id TEXT;
CREATE INDEX subnets_pool ON subnets (subnetpool_id);
