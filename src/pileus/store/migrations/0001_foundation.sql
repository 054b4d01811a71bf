-- What every part uses: answers to repeated requests, quotas, hosts, events.
CREATE TABLE idempotency_answers (
  id TEXT PRIMARY KEY, digest TEXT NOT NULL, status BIGINT NOT NULL, headers TEXT NOT NULL, body TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX idempotency_answers_created ON idempotency_answers (created_at);

-- A project's own limits; defaults are in store/quotas.py, changed defaults have the project_id ''.
CREATE TABLE quotas (
  project_id TEXT NOT NULL, resource TEXT NOT NULL, limit_value BIGINT NOT NULL, PRIMARY KEY (project_id, resource)
);

CREATE TABLE hosts (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  name TEXT NOT NULL UNIQUE, number BIGINT NOT NULL, service_id TEXT NOT NULL, availability_zone TEXT NOT NULL, enabled BIGINT NOT NULL,
  disabled_reason TEXT, forced_down BIGINT NOT NULL, seen_at DOUBLE PRECISION NOT NULL, report TEXT
);
