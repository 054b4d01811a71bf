-- Passwords that users had, and logins that failed.
CREATE TABLE password_history (
  user_id TEXT NOT NULL, set_at DOUBLE PRECISION NOT NULL, password_hash TEXT NOT NULL, PRIMARY KEY (user_id, set_at)
);

CREATE TABLE login_failures (
  user_id TEXT PRIMARY KEY, failures BIGINT NOT NULL, failed_at DOUBLE PRECISION NOT NULL
);
