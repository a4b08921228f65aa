-- +goose Up

CREATE TABLE projects (
    id    TEXT COLLATE "C" PRIMARY KEY,
    quota TEXT NOT NULL -- JSON
);
