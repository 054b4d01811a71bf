"""Contract suites of the drivers: hypervisors, networks, storage."""
