-- Moves that ended while their source was down: it is told to go on when it is back.
ALTER TABLE server_migrations ADD COLUMN owed BIGINT NOT NULL DEFAULT 0;
