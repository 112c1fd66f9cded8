-- +goose Up
-- The installation that the database belongs to: one row, written at the first start.
CREATE TABLE installation (
    one SMALLINT PRIMARY KEY CHECK (one = 1),
    id  TEXT NOT NULL
);
