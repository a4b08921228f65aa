-- +goose Up

-- Times are microseconds since 1970, in UTC.

CREATE TABLE installation (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    instance  TEXT    NOT NULL,
    pinged_at INTEGER NOT NULL
) STRICT;

CREATE TABLE generations (
    id        TEXT    PRIMARY KEY,
    opened_at INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    id            TEXT    PRIMARY KEY,
    project_id    TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    origin        TEXT    NOT NULL UNIQUE,
    version       INTEGER NOT NULL,
    spec          TEXT    NOT NULL, -- JSON
    desired       TEXT    NOT NULL,
    pending       TEXT    NOT NULL,
    pending_since INTEGER,
    container_id  TEXT    NOT NULL,
    exit          TEXT, -- JSON
    failure       TEXT, -- JSON
    started_at    INTEGER,
    active_at     INTEGER,
    closed_at     INTEGER
) STRICT;

CREATE INDEX sessions_created ON sessions (created_at, id);
CREATE INDEX sessions_open ON sessions (created_at, id) WHERE closed_at IS NULL;
CREATE INDEX sessions_project ON sessions (project_id, created_at, id);
CREATE INDEX sessions_closed ON sessions (closed_at) WHERE closed_at IS NOT NULL;

CREATE TABLE tokens (
    name       TEXT    PRIMARY KEY,
    hash       BLOB    NOT NULL UNIQUE,
    project_id TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;
