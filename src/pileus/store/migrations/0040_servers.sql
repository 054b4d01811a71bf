-- Servers: the desired part, what a node saw (observed, JSON), and the words of Nova that follow from both.
CREATE TABLE servers (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  project_id TEXT NOT NULL, user_id TEXT NOT NULL, name TEXT NOT NULL, hostname TEXT NOT NULL, description TEXT,
  image_id TEXT, image TEXT NOT NULL, flavor TEXT NOT NULL, vcpus BIGINT NOT NULL, memory_mib BIGINT NOT NULL,
  key_name TEXT, public_key TEXT, user_data TEXT, admin_password TEXT, metadata TEXT NOT NULL, tags TEXT NOT NULL, config_drive BIGINT NOT NULL,
  requested_zone TEXT, requested_host TEXT, hints TEXT NOT NULL, locked BIGINT NOT NULL, locked_reason TEXT, locked_by TEXT,
  power TEXT NOT NULL, reboots_soft BIGINT NOT NULL, reboots_hard BIGINT NOT NULL, builds BIGINT NOT NULL,
  reservation_id TEXT NOT NULL, launch_index BIGINT NOT NULL, access_ip_v4 TEXT NOT NULL, access_ip_v6 TEXT NOT NULL, disk_config TEXT NOT NULL,
  trusted_certificates TEXT, root_device TEXT NOT NULL, request_id TEXT NOT NULL, deleted_at DOUBLE PRECISION,
  host TEXT, availability_zone TEXT, fault TEXT, launched_at DOUBLE PRECISION, terminated_at DOUBLE PRECISION, removed_at DOUBLE PRECISION,
  pending_snapshot TEXT, observed TEXT,
  status TEXT NOT NULL, vm_state TEXT NOT NULL, task_state TEXT, power_state BIGINT NOT NULL
);
CREATE INDEX servers_of_project ON servers (project_id, removed_at, created_at);
CREATE INDEX servers_of_host ON servers (host, removed_at);
CREATE INDEX servers_unsettled ON servers (task_state, removed_at);
