-- The tag that a server's owner gave to one of its network cards: shown in the guest's metadata.
CREATE TABLE device_tags (port_id TEXT PRIMARY KEY, server_id TEXT NOT NULL, tag TEXT NOT NULL);
CREATE INDEX device_tags_of_server ON device_tags (server_id);
