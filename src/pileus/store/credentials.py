"""Credentials that users keep for other systems; their content is encrypted before it comes here."""

from pileus.model.credentials import Credential
from pileus.store.tables import ResourceTable

CREDENTIALS = ResourceTable("credentials", Credential)
