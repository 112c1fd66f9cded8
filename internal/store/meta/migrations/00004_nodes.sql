-- +goose Up
-- Several processes on one database. SQLite, which one process has for itself, uses the tables epochs and changes not at all.

-- One row, which each write transaction changes first: its lock lets one write at a time. number counts the transactions;
-- last_id is the greatest identifier that was given out.
CREATE TABLE epochs (
    id      SMALLINT PRIMARY KEY,
    number  BIGINT NOT NULL,
    last_id BIGINT NOT NULL
);
INSERT INTO epochs (id, number, last_id) VALUES (1, 0, 0);

-- One row for each transaction: who wrote it, and what it made stale in the caches of all processes, a line for each scope.
-- Old rows are deleted.
CREATE TABLE changes (
    number BIGINT PRIMARY KEY,
    writer TEXT NOT NULL,
    scopes TEXT NOT NULL
);

-- Whose process moves the lines to its files; '' with SQLite.
ALTER TABLE audit_pending ADD COLUMN node TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_pending_by_node ON audit_pending (node, id);
