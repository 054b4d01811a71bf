-- Images, whom they are shared with, and indexes of their tags and properties for filters.
CREATE TABLE images (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  owner TEXT, name TEXT, status TEXT NOT NULL, visibility TEXT NOT NULL, protected BIGINT NOT NULL, os_hidden BIGINT NOT NULL,
  container_format TEXT, disk_format TEXT, min_disk BIGINT NOT NULL, min_ram BIGINT NOT NULL, size BIGINT, virtual_size BIGINT,
  checksum TEXT, os_hash_algo TEXT, os_hash_value TEXT, content TEXT, upload TEXT, tags TEXT NOT NULL, properties TEXT NOT NULL
);
CREATE INDEX images_owner ON images (owner);
CREATE INDEX images_created ON images (created_at, id);
CREATE INDEX images_content ON images (content);

CREATE TABLE image_members (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE, member_id TEXT NOT NULL, status TEXT NOT NULL, UNIQUE (image_id, member_id)
);
CREATE INDEX image_members_member ON image_members (member_id, status);

CREATE TABLE image_tags (
  image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE, tag TEXT NOT NULL, PRIMARY KEY (image_id, tag)
);
CREATE INDEX image_tags_tag ON image_tags (tag);

CREATE TABLE image_properties (
  image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (image_id, name)
);
CREATE INDEX image_properties_name ON image_properties (name, value);
