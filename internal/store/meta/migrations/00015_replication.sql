-- +goose Up
-- The replication configuration of a registry: rules is the JSON of its rules. A registry without rules has no row.
CREATE TABLE replication_rules (
    account TEXT NOT NULL,
    region  TEXT NOT NULL,
    rules   TEXT NOT NULL,
    PRIMARY KEY (account, region)
);

-- How far the replication of an image to a destination is. state 1: in progress; 2: complete; 3: failed, with a code.
CREATE TABLE replications (
    repository BIGINT NOT NULL,
    digest     TEXT NOT NULL,
    account    TEXT NOT NULL, -- of the destination
    region     TEXT NOT NULL,
    state      SMALLINT NOT NULL,
    code       TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (repository, digest, account, region)
);
