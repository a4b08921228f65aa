-- +goose Up

-- Times are microseconds since 1970, in UTC. IDs and names are compared by their bytes.

CREATE TABLE installation (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    instance  TEXT    NOT NULL,
    pinged_at BIGINT  NOT NULL
);

CREATE TABLE generations (
    id        TEXT COLLATE "C" PRIMARY KEY,
    opened_at BIGINT NOT NULL,
    last_seq  BIGINT NOT NULL
);

CREATE TABLE sessions (
    id            TEXT   COLLATE "C" PRIMARY KEY,
    project_id    TEXT   COLLATE "C" NOT NULL,
    created_at    BIGINT NOT NULL,
    origin        TEXT   COLLATE "C" NOT NULL UNIQUE,
    version       BIGINT NOT NULL,
    spec          TEXT   NOT NULL, -- JSON
    desired       TEXT   NOT NULL,
    pending       TEXT   NOT NULL,
    pending_since BIGINT,
    container_id  TEXT   NOT NULL,
    exit          TEXT, -- JSON
    failure       TEXT, -- JSON
    started_at    BIGINT,
    active_at     BIGINT,
    closed_at     BIGINT
);

CREATE INDEX sessions_created ON sessions (created_at, id);
CREATE INDEX sessions_open ON sessions (created_at, id) WHERE closed_at IS NULL;
CREATE INDEX sessions_project ON sessions (project_id, created_at, id);
CREATE INDEX sessions_closed ON sessions (closed_at) WHERE closed_at IS NOT NULL;

CREATE TABLE tokens (
    name       TEXT   COLLATE "C" PRIMARY KEY,
    hash       BYTEA  NOT NULL UNIQUE,
    project_id TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);
