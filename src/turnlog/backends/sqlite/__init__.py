"""Sessions in one SQLite file."""

from turnlog.backends.sqlite.backend import SqliteBackend as SqliteBackend
from turnlog.backends.sqlite.schema import schema_text as schema_text
