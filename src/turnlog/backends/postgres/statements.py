"""The SQL of the PostgreSQL backend, about one statement a verb; every one is atomic by itself, so none needs a transaction around it.

``{s}`` stands for the schema. Statements run at READ COMMITTED. There, a statement sees what was committed when it began, but
where it meets a row that somebody else is changing it waits and goes by the new row. So whatever must hold together is
decided on a row that both sides lock: the head (appends, head changes, rows, forks), or the run (claims, forks, new heads, closing).

Connections of turnlog's own have ``enable_seqscan`` and ``jit`` off. Do the same for a pool of yours: else a plan that was made while the
tables were small reads them whole, until they are analyzed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

RELAXED = "WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true))"
"""The commit does not wait for the disk. The log is one sequence, so any later commit that does wait brings this one to the disk too."""

_HEAD = "session_id, long_id, run, counter, length, count_offset, updated_at, ttl, agent_name, user_id, parent_id, body"
_HEAD_VALUES = """
    %(session_id)s::text, %(long_id)s::text, %(run)s::text, %(counter)s::int8, %(length)s::int8, %(count_offset)s::int8,
    %(updated_at)s::float8, %(ttl)s::float8, %(agent_name)s::text, %(user_id)s::text, %(parent_id)s::text, %(body)s::text
"""
# The row of the run is written even if nothing in it changes: whoever closes the run waits for this statement, or comes before it.
_ALIVE = "ON CONFLICT (run) DO UPDATE SET run = excluded.run WHERE NOT runs.closed RETURNING runs.run"
_INSERT_HEAD = f"""
WITH alive AS (
    INSERT INTO {{s}}.runs AS runs (run)
    SELECT %(run)s::text WHERE NOT EXISTS (SELECT FROM {{s}}.heads WHERE session_id = %(session_id)s::text)
    {_ALIVE}
), put AS (
    INSERT INTO {{s}}.heads ({_HEAD}) SELECT {_HEAD_VALUES} FROM alive ON CONFLICT (session_id) DO NOTHING RETURNING run
)"""
_UPDATE_HEAD = f"""
WITH alive AS (
    INSERT INTO {{s}}.runs AS runs (run)
    SELECT %(run)s::text FROM {{s}}.heads
    WHERE session_id = %(session_id)s::text AND run = %(old_run)s::text AND counter = %(old_counter)s::int8
    {_ALIVE}
), put AS (
    UPDATE {{s}}.heads AS heads SET ({_HEAD}) = ROW ({_HEAD_VALUES}) FROM alive
    WHERE session_id = %(session_id)s::text AND heads.run = %(old_run)s::text AND counter = %(old_counter)s::int8
    RETURNING heads.run
)"""
_GIVEN = "given.id, given.time, given.body, given.meta{+given}"
_RECORDS = (
    "unnest(%(ids)s::text[], %(times)s::float8[], %(bodies)s::text[], %(metas)s::text[]{+arrays})"
    " WITH ORDINALITY AS given (id, time, body, meta{+words}, n)"
)
_PLACED = f""", placed AS (
    INSERT INTO {{s}}.records (run, seq, id, time, body, meta{{+words}}) SELECT put.run, given.n - 1, {_GIVEN} FROM put, {_RECORDS}
)"""
_DONE = " SELECT 1 FROM put"

# An append that finds the session expired finds no session.
_LIVING = "(ttl IS NULL OR updated_at + ttl > {now})"
# How many messages retention has dropped stands only in the body. Inside of a JSON string no quotation mark is bare, so neither key is met
# where it is part of a text; and nothing of the user's stands before "fields".
_SHED = """CASE WHEN strpos(body, '"shed":') = 0 THEN 0
        ELSE coalesce(substring(split_part(body, ',"fields":', 1) FROM '"shed":([0-9]+)')::int8, 0) END"""
# Closing the run waits for the lock on it, every change of the head for that on the head, so that both look for claims after this; or they
# came first, and the newest version is looked at. (A lock FOR KEY SHARE would look at the one before.) Other forks wait for neither lock.
_PUT_FORK = f"""
WITH above AS (
    SELECT heads.run FROM {{s}}.runs AS runs, {{s}}.heads AS heads
    WHERE runs.run = %(above_run)s::text AND NOT closed AND heads.session_id = %(above_id)s::text AND heads.run = %(above_run)s::text
        AND {_SHED} = %(shed)s::int8
        AND (%(expect)s::text IS NULL OR concat_ws('.', heads.run, heads.counter, heads.length) = %(expect)s::text)
    FOR SHARE OF runs, heads
), born AS (
    INSERT INTO {{s}}.runs AS runs (run)
    SELECT %(run)s::text FROM above WHERE NOT EXISTS (SELECT FROM {{s}}.heads WHERE session_id = %(session_id)s::text)
    {_ALIVE}
), put AS (
    INSERT INTO {{s}}.heads ({_HEAD}) SELECT {_HEAD_VALUES} FROM born ON CONFLICT (session_id) DO NOTHING RETURNING run
), claimed AS (
    INSERT INTO {{s}}.claims (run, child_run, session_id, child_id, stop)
    SELECT %(above_run)s::text, run, %(above_key)s::text, %(child_key)s::text, %(stop)s::int8 FROM put
    ON CONFLICT (run, child_run) DO UPDATE SET stop = excluded.stop
) SELECT CASE WHEN EXISTS (SELECT FROM put) THEN 'stored' WHEN EXISTS (SELECT FROM above) THEN 'taken'
    WHEN NOT EXISTS (SELECT FROM {{s}}.runs WHERE run = %(above_run)s::text)
        AND EXISTS (SELECT FROM {{s}}.heads WHERE session_id = %(above_id)s::text AND run = %(above_run)s::text) THEN 'unmet'
    ELSE 'moved' END
"""
_WORDS = {
    "{+words}": ", words",
    "{+value}": ", string_to_array(%s::text, ' ')",
    "{+given}": ", string_to_array(given.words, ' ')",
    "{+arrays}": ", %(words)s::text[]",
}
"""What is put in where the words of messages are stored with them, and left out elsewhere. No word holds a space."""


@dataclass(frozen=True, slots=True)
class Statements:
    """All statements, for one schema."""

    get_head: str = "SELECT body, run, counter, length, updated_at FROM {s}.heads WHERE session_id = %s"
    insert_head: str = _INSERT_HEAD + _DONE
    insert_head_with_records: str = _INSERT_HEAD + _PLACED + _DONE
    update_head: str = _UPDATE_HEAD + _DONE
    update_head_with_records: str = _UPDATE_HEAD + _PLACED + _DONE
    remove_head: str = "DELETE FROM {s}.heads WHERE session_id = %s AND run = %s RETURNING 1"
    remove_head_at: str = "DELETE FROM {s}.heads WHERE session_id = %s AND run = %s AND counter = %s RETURNING 1"

    append_one: str = f"""
        WITH raised AS (
            UPDATE {{s}}.heads SET counter = counter + 1, length = length + 1, updated_at = %s::float8
            WHERE session_id = %s::text AND {_LIVING.format(now="%s::float8")} RETURNING run, counter, length, count_offset
        ), placed AS (
            INSERT INTO {{s}}.records (run, seq, id, time, body, meta{{+words}})
            SELECT run, length - 1, %s::text, %s::float8, %s::text, %s::text{{+value}} FROM raised
        ) SELECT run, counter, length + count_offset FROM raised
    """
    append_many: str = f"""
        WITH raised AS (
            UPDATE {{s}}.heads SET counter = counter + 1, length = length + %(size)s::int8, updated_at = %(now)s::float8
            WHERE session_id = %(session_id)s::text AND {_LIVING.format(now="%(now)s::float8")}
                AND (NOT %(compare)s::bool OR run = %(old_run)s::text AND counter = %(old_counter)s::int8)
            RETURNING run, counter, length, count_offset
        ), placed AS (
            INSERT INTO {{s}}.records (run, seq, id, time, body, meta{{+words}})
            SELECT run, length - %(size)s::int8 + given.n - 1, {_GIVEN} FROM raised, {_RECORDS}
        ) SELECT run, counter, length + count_offset FROM raised
    """
    known: str = f"""
        SELECT heads.run, heads.counter, heads.length + heads.count_offset, records.id, records.body, records.meta
        FROM {{s}}.heads AS heads LEFT JOIN {{s}}.records AS records ON records.run = heads.run AND records.id = ANY (%s::text[])
        WHERE heads.session_id = %s::text AND {_LIVING.format(now="%s::float8")}
    """
    # What is found to be stored may not have reached the standby that commits wait for: whoever stored it was cancelled while it waited, or
    # the server crashed. A commit of one's own waits for all that was committed before.
    confirm: str = "UPDATE {s}.heads SET run = run WHERE session_id = %s"
    # The same where there is no head any more: whatever became of the run's row, this writes.
    confirm_removed: str = "INSERT INTO {s}.runs (run) VALUES (%s) ON CONFLICT (run) DO UPDATE SET run = excluded.run"
    read_one: str = "SELECT seq, id, time, body, meta FROM {s}.records WHERE run = %s AND seq >= %s AND seq < %s ORDER BY seq"
    read_many: str = """
        SELECT found.seq, found.id, found.time, found.body, found.meta
        FROM unnest(%s::text[], %s::int8[], %s::int8[]) WITH ORDINALITY AS span (run, start, stop, n)
        CROSS JOIN LATERAL (
            SELECT seq, id, time, body, meta FROM {s}.records AS records
            WHERE records.run = span.run AND records.seq >= span.start AND records.seq < span.stop ORDER BY seq OFFSET 0
        ) AS found
        ORDER BY span.n, found.seq
    """
    drop_records: str = """
        WITH first AS (
            SELECT min(seq) + %(at_once)s::int8 AS edge FROM {s}.records WHERE run = %(run)s AND seq >= %(start)s::int8
        ), gone AS (
            DELETE FROM {s}.records AS records USING first
            WHERE run = %(run)s AND seq >= %(start)s::int8 AND seq < %(stop)s::int8 AND seq < edge
        )
        SELECT EXISTS (SELECT FROM {s}.records AS records, first WHERE run = %(run)s AND seq >= edge AND seq < %(stop)s::int8)
    """

    put_row: str = """
        WITH named AS (SELECT run FROM {s}.heads WHERE session_id = %s::text AND run = %s::text FOR SHARE)
        INSERT INTO {s}.rows (run, kind, key, long_key, body) SELECT run, %s::text, %s::text, %s::text, %s::text FROM named
        ON CONFLICT (run, kind, key) DO UPDATE SET body = excluded.body RETURNING 1
    """
    put_row_relaxed: str = f"""
        {RELAXED}, named AS (SELECT run FROM {{s}}.heads, relaxed WHERE session_id = %s::text AND run = %s::text FOR SHARE OF heads)
        INSERT INTO {{s}}.rows (run, kind, key, long_key, body) SELECT run, %s::text, %s::text, %s::text, %s::text FROM named
        ON CONFLICT (run, kind, key) DO UPDATE SET body = excluded.body RETURNING 1
    """
    get_rows: str = "SELECT coalesce(long_key, key), body FROM {s}.rows WHERE run = %s AND kind = %s ORDER BY number"
    get_rows_by_key: str = (
        "SELECT coalesce(long_key, key), body FROM {s}.rows WHERE run = %s AND kind = %s AND key = ANY (%s::text[]) ORDER BY number"
    )
    drop_rows: str = "DELETE FROM {s}.rows WHERE run = %s"
    drop_rows_of_kind: str = "DELETE FROM {s}.rows WHERE run = %s AND kind = %s"
    drop_rows_by_key: str = "DELETE FROM {s}.rows WHERE run = %s AND kind = ANY (%s::text[]) AND key = ANY (%s::text[])"
    drop_turns: str = (
        f"{RELAXED} DELETE FROM {{s}}.rows USING relaxed WHERE run = %s AND kind = ANY (%s::text[]) AND key = ANY (%s::text[])"
    )

    put_claim: str = f"""
        {RELAXED}, alive AS (INSERT INTO {{s}}.runs AS runs (run) SELECT %s::text FROM relaxed {_ALIVE})
        INSERT INTO {{s}}.claims (run, child_run, session_id, child_id, stop)
        SELECT run, %s::text, %s::text, %s::text, %s::int8 FROM alive
        ON CONFLICT (run, child_run) DO UPDATE SET stop = excluded.stop RETURNING 1
    """
    put_fork: str = _PUT_FORK
    put_run: str = f"{RELAXED} INSERT INTO {{s}}.runs (run) SELECT %s::text FROM relaxed ON CONFLICT (run) DO NOTHING"
    claims: str = "SELECT session_id, run, child_id, child_run, stop FROM {s}.claims"
    claims_of_run: str = "SELECT session_id, run, child_id, child_run, stop FROM {s}.claims WHERE run = %s"
    drop_claim: str = f"{RELAXED} DELETE FROM {{s}}.claims USING relaxed WHERE run = %s AND child_run = %s"
    mark: str = f"""
        {RELAXED} INSERT INTO {{s}}.runs AS runs (run, session_id, long_id, parent, closed, marked)
        SELECT %s::text, %s::text, %s::text, %s::text, %s::bool, true FROM relaxed
        ON CONFLICT (run) DO UPDATE SET session_id = excluded.session_id, long_id = excluded.long_id, parent = excluded.parent,
            marked = true, closed = runs.closed OR excluded.closed
    """
    marks: str = "SELECT coalesce(long_id, session_id), run, parent, closed FROM {s}.runs WHERE marked"
    marks_of_session: str = "SELECT coalesce(long_id, session_id), run, parent, closed FROM {s}.runs WHERE marked AND session_id = %s"
    forget: str = f"{RELAXED} DELETE FROM {{s}}.runs USING relaxed WHERE run = %s"

    find: str = """
        SELECT coalesce(heads.long_id, heads.session_id, runs.long_id, runs.session_id), found.run, found.seq
        FROM (
            SELECT run, seq, time, (SELECT count(*) FROM unnest(%(words)s::text[]) AS wanted (word) WHERE word = ANY (words)) AS held
            FROM {s}.records WHERE words && %(words)s::text[] ORDER BY held DESC, time DESC, run DESC, seq DESC LIMIT %(limit)s
        ) AS found LEFT JOIN {s}.heads AS heads ON heads.run = found.run LEFT JOIN {s}.runs AS runs ON runs.run = found.run
        WHERE coalesce(heads.session_id, runs.session_id) IS NOT NULL
        ORDER BY held DESC, time DESC, found.run DESC, seq DESC
    """

    list_heads: str = "SELECT coalesce(long_id, session_id), body, run, counter, length, updated_at FROM {s}.heads"
    some_heads: str = "SELECT 1 FROM {s}.heads"
    forget_idle_runs: str = """
        DELETE FROM {s}.runs AS runs WHERE NOT marked AND NOT closed
            AND NOT EXISTS (SELECT FROM {s}.heads AS heads WHERE heads.run = runs.run)
            AND NOT EXISTS (SELECT FROM {s}.claims AS claims WHERE claims.run = runs.run)
    """

    @classmethod
    def of(cls, schema: str, *, words: bool) -> Statements:
        """The statements for the quoted name of a schema; ``words``: messages are stored with their words."""
        return cls(**{field.name: _completed(str(field.default), schema, words) for field in fields(cls)})


def _completed(statement: str, schema: str, words: bool) -> str:
    for place, text in _WORDS.items():
        statement = statement.replace(place, text if words else "")
    return statement.replace("{s}", schema)
