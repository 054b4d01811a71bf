"""The Image API v2, as Glance speaks it.

`routes.py` is the table and the service, `policy.py` who may do what, `images.py` creates, shows, changes and deletes, `listing.py`
lists and filters, `transfers.py` holds the routes of content, `content.py` what they do (`ingest_file` for snapshots), `files.py` its
files, `imports.py`, `downloads.py`, `copies.py` and `locations.py` bring content in by other ways, `unpacking.py` makes it ready for
servers, `stores.py`, `store_routes.py`, `placing.py` and `store_copies.py` have it in several stores, `web_contents.py` and
`location_patches.py` elsewhere (ADR 0022), `cache.py` keeps it at hand, `members.py` and `tags.py` whom an image is shared with and
its labels, `metadefs.py` and `metadef_items.py` what properties mean, `documents.py` and
the schemas what the service says of itself.
Content lies in `cloud.images` under its SHA-256, once for all images that have it; no handler trusts a name, every byte that comes in
is hashed and inspected (`core/image_formats`) before an image becomes active. What is not there: docs/gaps/image.md.
"""
