-- How many servers there are of each status (for the metrics), without a look at each of 200,000.
CREATE INDEX servers_statuses ON servers (status) WHERE removed_at IS NULL;
