"""Sessions on a MongoDB server. Needs the extra ``mongodb``."""

try:
    import pymongo as _pymongo
except ImportError as error:
    raise ImportError("MongoDB stores need PyMongo: pip install 'turnlog[mongodb]'") from error

if _pymongo.version_tuple < (4, 13):
    raise ImportError(f"MongoDB stores need PyMongo 4.13 or newer, not {_pymongo.version}: pip install -U 'turnlog[mongodb]'")

from turnlog.backends.mongodb.backend import MongoBackend as MongoBackend
from turnlog.backends.mongodb.backend import open_backend as open_backend
from turnlog.backends.mongodb.schema import schema_text as schema_text
