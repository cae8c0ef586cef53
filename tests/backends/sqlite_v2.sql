PRAGMA application_id = 1953852519;
PRAGMA user_version = 2;
BEGIN TRANSACTION;
CREATE TABLE claims (
    run TEXT NOT NULL,
    child_run TEXT NOT NULL,
    session_id TEXT NOT NULL,
    child_id TEXT NOT NULL,
    stop INTEGER NOT NULL,
    PRIMARY KEY (run, child_run)
) WITHOUT ROWID;
INSERT INTO "claims" VALUES('0123456789abcdef0123','cccccccccccccccccccc','chat-123','odd Ā',2);
CREATE TABLE heads (
    number INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE,
    run TEXT NOT NULL,
    run_number INTEGER,
    counter INTEGER NOT NULL,
    length INTEGER NOT NULL,
    count_offset INTEGER NOT NULL,
    updated_at REAL NOT NULL,
    agent_name TEXT,
    user_id TEXT,
    parent_id TEXT,
    body TEXT NOT NULL
, ttl REAL);
INSERT INTO "heads" VALUES(1,'chat-123','0123456789abcdef0123',1,2,3,0,3.5,'A','u',NULL,'{"born":"b","created_at":1.25,"fields":{"title":"Titel ü","agent_name":"A","user_id":"u","metadata":{"x":[1,null]}}}',NULL);
INSERT INTO "heads" VALUES(2,'odd Ā','cccccccccccccccccccc',NULL,0,0,2,4.0,NULL,NULL,'chat-123','{"born":"cb","created_at":4.0,"past":[["0123456789abcdef0123",0,2]],"past_count":2,"path":null,"tail":0,"shed":0,"undo":"u1","parent":["chat-123","b","0123456789abcdef0123",1]}',NULL);
INSERT INTO "heads" VALUES(3,'brief','bbbbbbbbbbbbbbbbbbbb',2,0,1,0,6.0,NULL,NULL,NULL,'{"born":"bb","created_at":5.0,"ttl":60.0}',60.0);
CREATE TABLE marks (
    run TEXT NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL,
    parent TEXT,
    closed INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "marks" VALUES('dddddddddddddddddddd','gone','["chat-123", "b", "0123456789abcdef0123", 1]',1);
CREATE TABLE records (
    place INTEGER PRIMARY KEY,
    run_number INTEGER NOT NULL,
    id TEXT NOT NULL,
    time REAL NOT NULL,
    body TEXT NOT NULL,
    meta TEXT,
    UNIQUE (run_number, id)
);
INSERT INTO "records" VALUES(4294967296,1,'a-0',1.5,'{"role":"user","content":"Hello!"}',NULL);
INSERT INTO "records" VALUES(4294967297,1,'a-1',2.5,'{"role":"assistant","content":"héllo 😀 \ud800"}','{"k":1}');
INSERT INTO "records" VALUES(4294967298,1,'a-2',3.5,'{"role":"user","content":"\u0000"}',NULL);
INSERT INTO "records" VALUES(8589934592,2,'b-0',6.0,'{"role":"user","content":"Soon gone"}',NULL);
CREATE TABLE rows (
    number INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (run, kind, key)
);
INSERT INTO "rows" VALUES(1,'0123456789abcdef0123','snapshot','snap','{}');
CREATE TABLE runs (number INTEGER PRIMARY KEY, run TEXT NOT NULL UNIQUE);
INSERT INTO "runs" VALUES(1,'0123456789abcdef0123');
INSERT INTO "runs" VALUES(2,'bbbbbbbbbbbbbbbbbbbb');
CREATE TABLE unindexed (place INTEGER NOT NULL);
CREATE TABLE words (word TEXT NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (word, place)) WITHOUT ROWID;
INSERT INTO "words" VALUES('gone',8589934592);
INSERT INTO "words" VALUES('hello',4294967296);
INSERT INTO "words" VALUES('héllo',4294967297);
INSERT INTO "words" VALUES('soon',8589934592);
CREATE INDEX heads_by_time ON heads (updated_at, session_id);
CREATE INDEX heads_by_agent ON heads (agent_name, updated_at, session_id) WHERE agent_name IS NOT NULL;
CREATE INDEX heads_by_user ON heads (user_id, updated_at, session_id) WHERE user_id IS NOT NULL;
CREATE INDEX heads_by_parent ON heads (parent_id, updated_at, session_id) WHERE parent_id IS NOT NULL;
CREATE INDEX marks_by_session ON marks (session_id);
CREATE INDEX heads_by_expiry ON heads (updated_at + ttl) WHERE ttl IS NOT NULL;
CREATE INDEX heads_by_run ON heads (run_number) WHERE run_number IS NOT NULL;
CREATE TRIGGER words_of_new AFTER INSERT ON records BEGIN
    INSERT OR IGNORE INTO words (word, place) SELECT value, new.place FROM json_each(turnlog_words(new.body));
END;
CREATE TRIGGER words_of_gone AFTER DELETE ON records BEGIN
    DELETE FROM words WHERE place = old.place AND word IN (SELECT value FROM json_each(turnlog_words(old.body)));
END;
COMMIT;
