-- +goose Up

CREATE TABLE projects (
    id    TEXT PRIMARY KEY,
    quota TEXT NOT NULL -- JSON
) STRICT;
