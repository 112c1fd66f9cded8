-- +goose Up
-- How a service outside of the installation is reached. settings is JSON without secrets, by kind; sealed holds the secrets. scope is the
-- JSON of a list, of those that may use it: [] for all. serves_account and serves_region are the destination of replications that it
-- stands for; '' for none. error is that of the last test or copy, '' after a success.
CREATE TABLE integrations (
    id             BIGINT PRIMARY KEY,
    account        TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name           TEXT NOT NULL,
    kind           TEXT NOT NULL,
    settings       TEXT NOT NULL,
    scope          TEXT NOT NULL,
    sealed         BYTEA NOT NULL,
    serves_account TEXT NOT NULL,
    serves_region  TEXT NOT NULL,
    version        BIGINT NOT NULL, -- changes with each change of the above
    tested_at      BIGINT NOT NULL, -- 0 for never
    error          TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    created_by     TEXT NOT NULL
);
CREATE UNIQUE INDEX integrations_of_account ON integrations (account, name);
CREATE UNIQUE INDEX integrations_by_destination ON integrations (account, serves_account, serves_region) WHERE serves_account <> '';
