"""Sessions in one SQLite file."""

from turnlog.backends.sqlite.backend import SqliteBackend as SqliteBackend
