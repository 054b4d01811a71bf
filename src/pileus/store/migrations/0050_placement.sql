-- Placement. A provider is one row: what it has, what is used, its traits and aggregates (JSON); its generation guards them all.
-- `changed` is the epoch of the row's last change: what is kept in memory reads only what is newer (store/provider_view.py).
CREATE TABLE resource_providers (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  name TEXT NOT NULL UNIQUE, parent_id TEXT REFERENCES resource_providers (id), root_id TEXT NOT NULL,
  inventories TEXT NOT NULL, used TEXT NOT NULL, traits TEXT NOT NULL, aggregates TEXT NOT NULL, changed BIGINT NOT NULL
);
CREATE INDEX resource_providers_changed ON resource_providers (changed);
CREATE INDEX resource_providers_root ON resource_providers (root_id);
CREATE INDEX resource_providers_parent ON resource_providers (parent_id);

-- One row: the newest epoch, and how many providers were ever removed.
CREATE TABLE placement_epoch (id BIGINT PRIMARY KEY, value BIGINT NOT NULL, removals BIGINT NOT NULL);
INSERT INTO placement_epoch (id, value, removals) VALUES (1, 0, 0);

-- Standard names are in core/traits.py.
CREATE TABLE custom_traits (name TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL);
CREATE TABLE custom_resource_classes (name TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL);

CREATE TABLE consumers (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  project_id TEXT NOT NULL, user_id TEXT NOT NULL, consumer_type TEXT
);
CREATE INDEX consumers_of_project ON consumers (project_id, user_id);

CREATE TABLE allocations (
  consumer_id TEXT NOT NULL REFERENCES consumers (id), provider_id TEXT NOT NULL REFERENCES resource_providers (id),
  resources TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (consumer_id, provider_id)
);
CREATE INDEX allocations_of_provider ON allocations (provider_id);

CREATE TABLE placement_decisions (
  id TEXT PRIMARY KEY, server_id TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL, decision TEXT NOT NULL
);
CREATE INDEX placement_decisions_of_server ON placement_decisions (server_id, created_at);

-- A placement asks which hosts have changed, and which are silent.
CREATE INDEX hosts_updated ON hosts (updated_at);
CREATE INDEX hosts_seen ON hosts (seen_at);
