-- A page of a list is read without the rows before it; roles on a project without those on all others.
CREATE INDEX users_by_age ON users (created_at, id);
CREATE INDEX projects_by_age ON projects (created_at, id);
CREATE INDEX user_groups_by_age ON user_groups (created_at, id);
CREATE INDEX credentials_by_age ON credentials (created_at, id);
