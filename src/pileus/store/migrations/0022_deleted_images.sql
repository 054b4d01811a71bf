-- Ids of images that are gone. A client may choose an image's id: whoever remembers one must not get another's content by it.
CREATE TABLE deleted_images (id TEXT PRIMARY KEY);
