"""The SQL of the SQLite backend, about one statement a verb."""

GET_HEAD = "SELECT body, run, counter, length, updated_at FROM heads WHERE session_id = ?"
INSERT_HEAD = """
INSERT INTO heads (session_id, run, counter, length, count_offset, updated_at, agent_name, user_id, parent_id, body, ttl)
SELECT :session_id, :run, :counter, :length, :count_offset, :updated_at, :agent_name, :user_id, :parent_id, :body, :ttl
WHERE NOT EXISTS (SELECT 1 FROM marks WHERE run = :run AND closed)
ON CONFLICT (session_id) DO NOTHING
"""
UPDATE_HEAD = """
UPDATE heads SET run_number = CASE WHEN run = :run THEN run_number END, run = :run, counter = :counter, length = :length,
    count_offset = :count_offset, updated_at = :updated_at, agent_name = :agent_name, user_id = :user_id, parent_id = :parent_id,
    body = :body, ttl = :ttl
WHERE session_id = :session_id AND run || '.' || counter = :expect
    AND NOT EXISTS (SELECT 1 FROM marks WHERE run = :run AND closed)
"""
REMOVE_HEAD = """
DELETE FROM heads WHERE session_id = :session_id AND run = :run AND (:expect IS NULL OR run || '.' || counter = :expect)
"""

STATE = """
SELECT number, run, run_number, counter, length, count_offset FROM heads
WHERE session_id = ? AND (ttl IS NULL OR updated_at + ttl > ?)
"""
RAISE = "UPDATE heads SET counter = counter + 1, length = length + ?, updated_at = ? WHERE number = ?"
INSERT_RECORD = "INSERT INTO records (place, run_number, id, time, body, meta) VALUES (?, ?, ?, ?, ?, ?)"
KNOWN = "SELECT id, body, meta FROM records WHERE run_number = ? AND id IN (SELECT value FROM json_each(?)) AND place < ?"
RUN_NUMBER = "SELECT number FROM runs WHERE run = ?"
READ = "SELECT place & 0xffffffff, id, time, body, meta FROM records WHERE place >= ? AND place < ? ORDER BY place"
DROP_RECORDS = "DELETE FROM records WHERE place >= ? AND place < ?"
FORGET_NUMBER = "DELETE FROM runs WHERE run = :run AND NOT EXISTS (SELECT 1 FROM heads WHERE session_id = :session_id AND run = :run)"

PUT_ROW = """
INSERT INTO rows (run, kind, key, body)
SELECT :run, :kind, :key, :body WHERE EXISTS (SELECT 1 FROM heads WHERE session_id = :session_id AND run = :run)
ON CONFLICT (run, kind, key) DO UPDATE SET body = excluded.body
"""
PUT_CLAIM = """
INSERT INTO claims (run, child_run, session_id, child_id, stop)
SELECT :run, :child_run, :session_id, :child_id, :stop WHERE NOT EXISTS (SELECT 1 FROM marks WHERE run = :run AND closed)
ON CONFLICT (run, child_run) DO UPDATE SET stop = excluded.stop
"""
CLAIMS = "SELECT session_id, run, child_id, child_run, stop FROM claims"
MARK = """
INSERT INTO marks (run, session_id, parent, closed) VALUES (?, ?, ?, ?)
ON CONFLICT (run) DO UPDATE SET parent = excluded.parent, closed = max(closed, excluded.closed)
"""
FIND = """
SELECT coalesce(
    (SELECT session_id FROM heads WHERE run_number = runs.number),
    (SELECT session_id FROM claims WHERE claims.run = runs.run),
    (SELECT session_id FROM marks WHERE marks.run = runs.run)
) AS owner, run, place & 0xffffffff
FROM (
    SELECT place, count(*) AS held, (SELECT time FROM records WHERE records.place = words.place) AS time
    FROM words WHERE word IN (SELECT value FROM json_each(?)) GROUP BY place ORDER BY held DESC, time DESC, place DESC LIMIT ?
) JOIN runs ON runs.number = place >> 32
WHERE owner IS NOT NULL ORDER BY held DESC, time DESC, place DESC
"""
MARKS = "SELECT session_id, run, parent, closed FROM marks"
