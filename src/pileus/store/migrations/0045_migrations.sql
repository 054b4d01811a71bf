-- Moves of servers from host to host; `keys` is sealed and gone when the move is over.
CREATE TABLE server_migrations (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  number BIGINT NOT NULL UNIQUE, server_id TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL, step TEXT NOT NULL,
  source TEXT NOT NULL, destination TEXT, requested_host TEXT, force BIGINT NOT NULL, block_migration BIGINT, copy_disks BIGINT NOT NULL,
  old_flavor_id TEXT NOT NULL, new_flavor_id TEXT NOT NULL, user_id TEXT, project_id TEXT, request_id TEXT NOT NULL,
  options TEXT NOT NULL, target TEXT, keys TEXT, progress TEXT, forecast TEXT, force_complete BIGINT NOT NULL, abort BIGINT NOT NULL,
  error TEXT NOT NULL, back BIGINT NOT NULL, restored BIGINT NOT NULL, started_at DOUBLE PRECISION, finished_at DOUBLE PRECISION, due_at DOUBLE PRECISION
);
CREATE INDEX server_migrations_of_server ON server_migrations (server_id, created_at);
CREATE INDEX server_migrations_alive ON server_migrations (id) WHERE step <> 'done';
-- The migration in whose hands a server is: nothing else is done about the server until then.
ALTER TABLE servers ADD COLUMN migration TEXT;
