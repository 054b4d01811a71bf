-- Whether a server that is evacuated is to be off where it starts next.
ALTER TABLE server_migrations ADD COLUMN stop BIGINT NOT NULL DEFAULT 0;
