-- One-time passwords that were used, and when a user was last seen.
CREATE TABLE passcode_uses (
  credential_id TEXT PRIMARY KEY, step BIGINT NOT NULL
);

ALTER TABLE users ADD COLUMN last_active_at DOUBLE PRECISION;
