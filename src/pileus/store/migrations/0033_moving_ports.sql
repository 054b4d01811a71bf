-- A host is told of the ports that are about to move to it, in each apply of a server: found without a look at all ports of a network.
CREATE INDEX ports_moving ON ports (migrating_to) WHERE migrating_to IS NOT NULL;
