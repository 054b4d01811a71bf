-- What the reconciler is to do about a server, as it follows from the rest of the row. Rows of before are looked at once.
ALTER TABLE servers ADD COLUMN next_step TEXT NOT NULL DEFAULT 'apply';
CREATE INDEX servers_next_step ON servers (id) WHERE next_step <> 'nothing';
CREATE INDEX servers_removed ON servers (removed_at) WHERE removed_at IS NOT NULL;
DROP INDEX servers_unsettled;
