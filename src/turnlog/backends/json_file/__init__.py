"""Sessions as JSON files in a directory, which praisonaiagents may share."""

from turnlog.backends.json_file.backend import JsonFileBackend as JsonFileBackend
