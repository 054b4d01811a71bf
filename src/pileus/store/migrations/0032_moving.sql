-- Where a port is about to move to while its server migrates; which host carries a routing domain's routers.
ALTER TABLE ports ADD COLUMN migrating_to TEXT;
CREATE TABLE router_hosts (domain_id TEXT PRIMARY KEY, host TEXT NOT NULL, since DOUBLE PRECISION NOT NULL);
