-- When a host that had gone silent was fenced (it runs nothing since), or why it could not be.
ALTER TABLE hosts ADD COLUMN fenced_at DOUBLE PRECISION;
ALTER TABLE hosts ADD COLUMN fence_error TEXT;
