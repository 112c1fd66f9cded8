-- +goose Up
-- Rules by which repositories with a prefix are filled from another registry; prefix is ROOT or without the slash at its end.
CREATE TABLE cache_rules (
    account         TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    region          TEXT NOT NULL,
    prefix          TEXT NOT NULL,
    upstream        TEXT NOT NULL, -- the kind of registry in ECR; '' for another
    host            TEXT NOT NULL, -- HOST or HOST:PORT
    upstream_prefix TEXT NOT NULL, -- ROOT or without the slash at its end
    credential      TEXT NOT NULL, -- ARN of a secret; '' for none
    role            TEXT NOT NULL, -- ARN; '' for none
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    PRIMARY KEY (account, region, prefix)
);
-- Credentials for other services, sealed with the master key. suffix ends the ARN, as in Secrets Manager.
CREATE TABLE secrets (
    account    TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    region     TEXT NOT NULL,
    name       TEXT NOT NULL,
    suffix     TEXT NOT NULL,
    sealed     BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, name)
);
-- What was compared with another registry: reference is a tag that a rule has set, to the image digest, or the digest of an image whose
-- referrers were fetched.
CREATE TABLE cache_checks (
    repository BIGINT NOT NULL,
    reference  TEXT NOT NULL,
    digest     TEXT NOT NULL,
    checked_at BIGINT NOT NULL,
    PRIMARY KEY (repository, reference)
);
