-- +goose Up
-- Several processes on one database. With SQLite, whose database only one process uses, the tables epochs and changes are
-- not used.

-- One row, which each write transaction updates first: its lock serializes the write transactions. number counts the
-- transactions; last_id is the greatest identifier that was reserved.
CREATE TABLE epochs (
    id      SMALLINT PRIMARY KEY,
    number  BIGINT NOT NULL,
    last_id BIGINT NOT NULL
);
INSERT INTO epochs (id, number, last_id) VALUES (1, 0, 0);

-- One row for each transaction: its writer, and what it made stale in the caches of all processes, one line for each scope.
-- Old rows are deleted.
CREATE TABLE changes (
    number BIGINT PRIMARY KEY,
    writer TEXT NOT NULL,
    scopes TEXT NOT NULL
);

-- The id of the process that moves the lines to its files; '' with SQLite.
ALTER TABLE audit_pending ADD COLUMN node TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_pending_by_node ON audit_pending (node, id);
