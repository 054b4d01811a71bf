-- Who of an identity provider is which user here, in which groups for how long; how its provider of OpenID Connect is asked.
CREATE TABLE federated_users (
  idp_id TEXT NOT NULL, protocol_id TEXT NOT NULL, unique_id TEXT NOT NULL, user_id TEXT NOT NULL, shadow BIGINT NOT NULL,
  PRIMARY KEY (idp_id, protocol_id, unique_id)
);
CREATE INDEX federated_users_user ON federated_users (user_id);

CREATE TABLE expiring_memberships (
  user_id TEXT NOT NULL, group_id TEXT NOT NULL, idp_id TEXT NOT NULL, expires_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (user_id, group_id, idp_id)
);
CREATE INDEX expiring_memberships_group ON expiring_memberships (group_id);

CREATE TABLE openid_settings (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  issuer TEXT NOT NULL, client_id TEXT NOT NULL, sealed_secret TEXT, audiences TEXT NOT NULL, algorithms TEXT NOT NULL, scopes TEXT NOT NULL,
  userinfo BIGINT NOT NULL, authorities TEXT
);

-- Logins by browser that came back from the provider: each does so once.
CREATE TABLE used_sign_ins (
  id TEXT PRIMARY KEY, expires_at DOUBLE PRECISION NOT NULL
);
