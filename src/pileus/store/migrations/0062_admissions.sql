-- The public keys of hosts that were admitted to the message bus, and since when one is void.
CREATE TABLE admissions (
  public_key TEXT PRIMARY KEY, host TEXT NOT NULL, cluster TEXT NOT NULL, admitted_at DOUBLE PRECISION NOT NULL, revoked_at DOUBLE PRECISION
);
CREATE INDEX admissions_host ON admissions (host);
