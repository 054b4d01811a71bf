-- Flavors; `id` is the API's flavor id. A flavor that is not public is for the projects in flavor_access.
CREATE TABLE flavors (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  name TEXT NOT NULL UNIQUE, ram BIGINT NOT NULL, vcpus BIGINT NOT NULL, disk BIGINT NOT NULL, ephemeral BIGINT NOT NULL, swap BIGINT NOT NULL,
  rxtx_factor DOUBLE PRECISION NOT NULL, is_public BIGINT NOT NULL, disabled BIGINT NOT NULL, description TEXT, extra_specs TEXT NOT NULL
);

CREATE TABLE flavor_access (flavor_id TEXT NOT NULL, project_id TEXT NOT NULL, PRIMARY KEY (flavor_id, project_id));

CREATE TABLE keypairs (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  number BIGINT NOT NULL, user_id TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL, public_key TEXT NOT NULL, fingerprint TEXT NOT NULL,
  UNIQUE (user_id, name)
);

-- What was asked of a server, by request, and the steps that were done about it.
CREATE TABLE server_actions (
  id TEXT PRIMARY KEY, server_id TEXT NOT NULL, request_id TEXT NOT NULL, action TEXT NOT NULL, user_id TEXT, project_id TEXT, message TEXT,
  started_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX server_actions_of_server ON server_actions (server_id, started_at);

CREATE TABLE server_action_events (
  id TEXT PRIMARY KEY, action_id TEXT NOT NULL, event TEXT NOT NULL, started_at DOUBLE PRECISION NOT NULL, finished_at DOUBLE PRECISION,
  result TEXT, details TEXT, traceback TEXT, host TEXT
);
CREATE INDEX server_action_events_of_action ON server_action_events (action_id, started_at);

CREATE TABLE server_groups (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  project_id TEXT NOT NULL, user_id TEXT NOT NULL, name TEXT NOT NULL, policy TEXT NOT NULL, rules TEXT NOT NULL
);
CREATE INDEX server_groups_of_project ON server_groups (project_id);

CREATE TABLE server_group_members (server_id TEXT PRIMARY KEY, group_id TEXT NOT NULL);
CREATE INDEX server_group_members_of_group ON server_group_members (group_id);

-- Access to one console of one server; `id` is the SHA-256 of the token.
CREATE TABLE console_tokens (
  id TEXT PRIMARY KEY, server_id TEXT NOT NULL, host TEXT NOT NULL, kind TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL, expires_at DOUBLE PRECISION NOT NULL
);

CREATE TABLE aggregates (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  number BIGINT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, availability_zone TEXT, hosts TEXT NOT NULL, metadata TEXT NOT NULL
);

-- Files that a request below Nova's 2.57 brings into the guest: path -> base64.
ALTER TABLE servers ADD COLUMN personality TEXT NOT NULL DEFAULT '{}';
