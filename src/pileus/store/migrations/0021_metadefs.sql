-- Metadata definitions, and what became of imports of images.
CREATE TABLE metadef_namespaces (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  name TEXT NOT NULL UNIQUE, owner TEXT, display_name TEXT, description TEXT, visibility TEXT NOT NULL, protected BIGINT NOT NULL
);

CREATE TABLE metadef_items (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  namespace_id TEXT NOT NULL REFERENCES metadef_namespaces (id) ON DELETE CASCADE, kind TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
  UNIQUE (namespace_id, kind, name)
);

CREATE TABLE image_tasks (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  image_id TEXT NOT NULL, owner TEXT, user_id TEXT NOT NULL, request_id TEXT NOT NULL, status TEXT NOT NULL, input TEXT NOT NULL, message TEXT NOT NULL,
  expires_at DOUBLE PRECISION
);
CREATE INDEX image_tasks_image ON image_tasks (image_id);
CREATE INDEX image_tasks_status ON image_tasks (status);
