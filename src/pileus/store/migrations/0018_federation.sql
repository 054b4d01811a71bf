-- Federation: who else knows users, by which protocols, how their attributes become ours; and clouds that know our users.
CREATE TABLE identity_providers (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  domain_id TEXT NOT NULL, enabled BIGINT NOT NULL, description TEXT, authorization_ttl BIGINT, remote_ids TEXT NOT NULL
);

CREATE TABLE federation_protocols (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  idp_id TEXT NOT NULL, name TEXT NOT NULL, mapping_id TEXT NOT NULL, remote_id_attribute TEXT,
  UNIQUE (idp_id, name)
);

CREATE TABLE federation_mappings (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  rules TEXT NOT NULL, schema_version TEXT NOT NULL
);

CREATE TABLE service_providers (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  auth_url TEXT NOT NULL, sp_url TEXT NOT NULL, enabled BIGINT NOT NULL, description TEXT, relay_state_prefix TEXT
);

-- Which document of policy an endpoint, a service or a service in a region has.
CREATE TABLE policy_associations (
  endpoint_id TEXT NOT NULL, service_id TEXT NOT NULL, region_id TEXT NOT NULL, policy_id TEXT NOT NULL,
  PRIMARY KEY (endpoint_id, service_id, region_id)
);
