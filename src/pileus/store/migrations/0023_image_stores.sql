-- In which stores an image's content lies, at which addresses of the web, and why no server may be made of it though it was taken.
ALTER TABLE images ADD COLUMN stores TEXT NOT NULL DEFAULT '[]';
ALTER TABLE images ADD COLUMN locations TEXT NOT NULL DEFAULT '[]';
ALTER TABLE images ADD COLUMN flaw TEXT;
UPDATE images SET stores = '["local"]' WHERE content IS NOT NULL;
