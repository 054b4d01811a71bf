-- Clusters: the hosts' own, who leads each, and tokens with which a host joins (kept as SHA-256).
ALTER TABLE hosts ADD COLUMN cluster TEXT NOT NULL DEFAULT 'default';
CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, expires_at DOUBLE PRECISION NOT NULL, term BIGINT NOT NULL);
CREATE TABLE join_tokens (
  id TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, cluster TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL, expires_at DOUBLE PRECISION NOT NULL,
  used_at DOUBLE PRECISION, used_by TEXT
);
CREATE TABLE shared_keys (name TEXT PRIMARY KEY, value TEXT NOT NULL);
