-- What the flavor of a port's server lets through it, as JSON; NULL: whatever the network can.
ALTER TABLE ports ADD COLUMN rates TEXT;
