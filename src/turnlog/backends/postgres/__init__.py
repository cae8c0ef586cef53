"""Sessions in a PostgreSQL database."""

from turnlog.backends.postgres.backend import PostgresBackend as PostgresBackend
from turnlog.backends.postgres.backend import open_backend as open_backend
from turnlog.backends.postgres.backend import schema_text as schema_text
