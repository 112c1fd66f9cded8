-- +goose Up
-- The repository of git in which the integrations of an account are kept as files. settings is JSON without secrets, sealed holds the
-- credentials. wanted grows with each change that must be written; state is JSON of what was written, and turn changes with it.
CREATE TABLE config_repositories (
    account    TEXT NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    settings   TEXT NOT NULL,
    sealed     BYTEA NOT NULL,
    version    BIGINT NOT NULL, -- changes with each change of the above
    removing   BIGINT NOT NULL, -- 1 while its files are removed, after which the row goes
    wanted     BIGINT NOT NULL,
    state      TEXT NOT NULL,
    turn       BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);
