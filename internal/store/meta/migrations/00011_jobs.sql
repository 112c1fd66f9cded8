-- +goose Up
-- Background work. kind and key name it; while it is queued (state 1) or running (2) there is one row for both. Ended: done (3), failed
-- for good (4), canceled (5). due_at: when it may be leased; while it runs, the end of its lease. lease: who works on it, another number
-- for each lease. again: what it is about has changed since it was leased, so that it is queued once more when it ends.
CREATE TABLE jobs (
    id          BIGINT PRIMARY KEY,
    kind        TEXT NOT NULL,
    key         TEXT NOT NULL,
    account     TEXT NOT NULL, -- whose work it is; '' for that of the installation
    node        TEXT NOT NULL, -- the process that must do it; '' for any
    input       TEXT NOT NULL, -- JSON
    place       TEXT NOT NULL, -- JSON: where it continues; '' for its beginning
    state       SMALLINT NOT NULL,
    attempts    BIGINT NOT NULL, -- since the last success
    again       SMALLINT NOT NULL,
    stop        SMALLINT NOT NULL, -- it is to be canceled
    due_at      BIGINT NOT NULL,
    lease       BIGINT NOT NULL,
    worker      TEXT NOT NULL, -- the process that has the lease, or had the last one
    done        BIGINT NOT NULL,
    total       BIGINT NOT NULL,
    error       TEXT NOT NULL, -- of the last attempt
    created_at  BIGINT NOT NULL,
    started_at  BIGINT NOT NULL,
    ended_at    BIGINT NOT NULL -- of the last attempt
);
-- Lookups by key say state < 3 and those by time state <= 2, so that PostgreSQL uses the right one of the two also for an empty table.
CREATE UNIQUE INDEX jobs_live ON jobs (kind, key) WHERE state < 3;
CREATE INDEX jobs_due ON jobs (kind, account, due_at) WHERE state <= 2;
CREATE INDEX jobs_ended ON jobs (ended_at) WHERE state >= 3;
CREATE INDEX jobs_of_account ON jobs (account, id);
