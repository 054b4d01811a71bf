-- Services whose quotas are unified limits, with what that needs, as JSON; a service without a row has quotas of its own.
CREATE TABLE quota_sources (service TEXT PRIMARY KEY, settings TEXT NOT NULL);
-- Bytes that wait in the staging area for their import; NULL: none.
ALTER TABLE images ADD COLUMN staged BIGINT;
