-- OAuth 1: consumers, what they ask for and what users gave them. Secrets are encrypted. A nonce is kept as long as its request could come again.
CREATE TABLE oauth_consumers (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  description TEXT, sealed_secret TEXT NOT NULL, extra TEXT NOT NULL
);

CREATE TABLE oauth_request_tokens (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  consumer_id TEXT NOT NULL, project_id TEXT NOT NULL, sealed_secret TEXT NOT NULL, expires_at DOUBLE PRECISION NOT NULL,
  user_id TEXT, role_ids TEXT NOT NULL, verifier TEXT
);

CREATE TABLE oauth_access_tokens (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  consumer_id TEXT NOT NULL, project_id TEXT NOT NULL, user_id TEXT NOT NULL, role_ids TEXT NOT NULL, sealed_secret TEXT NOT NULL,
  expires_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX oauth_access_tokens_user ON oauth_access_tokens (user_id);

CREATE TABLE oauth_nonces (id TEXT PRIMARY KEY, seen_at DOUBLE PRECISION NOT NULL);
