-- +goose Up
-- Named objects of an account into whose settings no query looks: cloud integrations, runtimes, clusters. settings is JSON without secrets;
-- sealed holds the secrets. error is that of the last test, '' after a success.
CREATE TABLE objects (
    account    TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    settings   TEXT NOT NULL,
    sealed     BYTEA NOT NULL,
    version    BIGINT NOT NULL, -- changes with each change of the above
    tested_at  BIGINT NOT NULL, -- 0 for never
    error      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (account, kind, name)
);
-- What objects and integrations name. What is named cannot be deleted.
CREATE TABLE object_uses (
    account   TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    user_kind TEXT NOT NULL,
    user_name TEXT NOT NULL,
    kind      TEXT NOT NULL,
    name      TEXT NOT NULL,
    PRIMARY KEY (account, user_kind, user_name, kind, name)
);
CREATE INDEX object_uses_by_object ON object_uses (account, kind, name);
