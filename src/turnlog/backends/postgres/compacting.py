"""Making the server write its tables anew, so that nothing erased stays in them."""

from __future__ import annotations

from turnlog.backends.postgres.schema import DATA
from turnlog.backends.postgres.server import Server
from turnlog.backends.postgres.statements import Statements
from turnlog.errors import StorageError


async def compact(server: Server, sql: Statements, schema: str) -> None:
    """Rewrite each table of ``schema`` (quoted). Raises StorageError where the server left one as it was: it only warns of that."""
    names = [f"{schema}.{table}" for table in DATA]
    before = await _files(server, names)
    await server.run_for_long([sql.forget_idle_runs.encode(), *(f"VACUUM (FULL) {name}".encode() for name in names)])
    if before & await _files(server, names):
        text = (
            f"PostgreSQL at {server.where} did not rewrite the tables of {schema}: that takes the account that owns them, or the database"
        )
        raise StorageError(text, host=server.where)


async def _files(server: Server, names: list[str]) -> set[int]:
    """The files in which the tables lie; a table that is rewritten gets another."""
    rows = await server.run(b"SELECT pg_relation_filenode(name::regclass) FROM unnest(%s::text[]) AS name", (names,))
    return {number for (number,) in rows}
