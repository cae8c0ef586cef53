"""Sessions on a Redis or Valkey server: one server, a Cluster, or behind Sentinel; sync and async."""

from turnlog.backends.redis.address import open_backend as open_backend
from turnlog.backends.redis.backend import RedisBackend as RedisBackend
from turnlog.backends.redis.schema import schema_text as schema_text
