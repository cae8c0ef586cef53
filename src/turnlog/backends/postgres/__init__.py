"""Sessions in a PostgreSQL database."""

from turnlog.backends.postgres.backend import PostgresBackend as PostgresBackend
from turnlog.backends.postgres.backend import open_backend as open_backend
