-- +goose Up
-- The same SQL for SQLite and PostgreSQL. Times are microseconds since 1970 UTC, 0 means never; booleans are 0 and 1.
-- Deleted repositories and images stay until they are collected, so that they can be restored. The program makes the
-- identifiers.

CREATE TABLE accounts (
    id         TEXT PRIMARY KEY,
    alias      TEXT NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL,
    is_default SMALLINT NOT NULL DEFAULT 0
);

CREATE TABLE access_keys (
    id            TEXT PRIMARY KEY,
    account       TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    principal     TEXT NOT NULL,
    sealed_secret BYTEA NOT NULL,
    active        SMALLINT NOT NULL,
    created_at    BIGINT NOT NULL,
    last_used_at      BIGINT NOT NULL DEFAULT 0,
    last_used_region  TEXT NOT NULL DEFAULT '',
    last_used_service TEXT NOT NULL DEFAULT ''
);
CREATE INDEX access_keys_by_account ON access_keys (account, created_at, id);
CREATE INDEX access_keys_by_principal ON access_keys (account, principal);

CREATE TABLE tokens (
    id         TEXT PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    principal  TEXT NOT NULL,
    access_key TEXT NOT NULL,
    region     TEXT NOT NULL,
    issued_at  BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX tokens_by_account ON tokens (account, issued_at, id);
CREATE INDEX tokens_by_end ON tokens (expires_at);

CREATE TABLE account_settings (
    account TEXT NOT NULL,
    region  TEXT NOT NULL,
    name    TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (account, region, name)
);

CREATE TABLE repositories (
    id           BIGINT PRIMARY KEY,
    account      TEXT NOT NULL,
    region       TEXT NOT NULL,
    name         TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    deleted_at   BIGINT NOT NULL DEFAULT 0,
    mutability   TEXT NOT NULL,
    exclusions   TEXT NOT NULL DEFAULT '',
    scan_on_push SMALLINT NOT NULL DEFAULT 0,
    encryption   TEXT NOT NULL,
    kms_key      TEXT NOT NULL DEFAULT '',
    policy       TEXT NOT NULL DEFAULT '',
    policy_ids   TEXT NOT NULL DEFAULT '' -- JSON: the unique ids of the principals that the policy names
);
-- A name has at most one repository that is not deleted, and any number of deleted ones.
CREATE UNIQUE INDEX repositories_by_name ON repositories (account, region, name) WHERE deleted_at = 0;

CREATE TABLE repository_labels (
    repository BIGINT NOT NULL REFERENCES repositories (id),
    label      TEXT NOT NULL,
    value      TEXT NOT NULL,
    PRIMARY KEY (repository, label)
);

-- The blobs that a repository holds. A blob can be read only through a repository that holds it.
CREATE TABLE repository_blobs (
    repository BIGINT NOT NULL REFERENCES repositories (id),
    digest     TEXT NOT NULL,
    size       BIGINT NOT NULL,
    media_type TEXT NOT NULL DEFAULT '',
    added_at   BIGINT NOT NULL,
    PRIMARY KEY (repository, digest)
);
CREATE INDEX repository_blobs_by_digest ON repository_blobs (digest, repository);

CREATE TABLE manifests (
    digest TEXT PRIMARY KEY,
    body   BYTEA NOT NULL
);

CREATE TABLE images (
    repository    BIGINT NOT NULL REFERENCES repositories (id),
    digest        TEXT NOT NULL,
    media_type    TEXT NOT NULL,
    artifact_type TEXT NOT NULL,
    subject       TEXT NOT NULL,
    annotations   TEXT NOT NULL,
    manifest_size BIGINT NOT NULL,
    size          BIGINT NOT NULL,
    depth         INTEGER NOT NULL,
    tagged        SMALLINT NOT NULL DEFAULT 0,
    pushed_at     BIGINT NOT NULL,
    pulled_at     BIGINT NOT NULL DEFAULT 0,
    deleted_at    BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (repository, digest)
);
CREATE INDEX images_by_time ON images (repository, pushed_at, digest) WHERE deleted_at = 0;
CREATE INDEX images_by_state ON images (repository, tagged, pushed_at, digest) WHERE deleted_at = 0;
CREATE INDEX images_by_subject ON images (repository, subject, digest) WHERE deleted_at = 0 AND subject <> '';
CREATE INDEX images_deleted ON images (repository, deleted_at) WHERE deleted_at > 0;

-- The blobs (kind 1) and the images of the same repository (kind 2) that the manifest of an image refers to. While the
-- image is marked deleted the kinds are 3 and 4, so that queries for references of images that are not deleted skip them.
CREATE TABLE image_references (
    repository BIGINT NOT NULL,
    digest     TEXT NOT NULL,
    target     TEXT NOT NULL,
    kind       SMALLINT NOT NULL,
    PRIMARY KEY (repository, digest, target, kind)
);
CREATE INDEX image_references_by_target ON image_references (repository, target, kind, digest);

CREATE TABLE tags (
    repository BIGINT NOT NULL,
    tag        TEXT NOT NULL,
    digest     TEXT NOT NULL,
    moved_at   BIGINT NOT NULL,
    PRIMARY KEY (repository, tag)
);
CREATE INDEX tags_by_digest ON tags (repository, digest, tag);

CREATE TABLE tag_history (
    id          BIGINT PRIMARY KEY,
    repository  BIGINT NOT NULL,
    tag         TEXT NOT NULL,
    from_digest TEXT NOT NULL,
    to_digest   TEXT NOT NULL,
    moved_at    BIGINT NOT NULL,
    principal   TEXT NOT NULL
);
CREATE INDEX tag_history_by_repository ON tag_history (repository, id);
CREATE INDEX tag_history_by_tag ON tag_history (repository, tag, id);

CREATE TABLE uploads (
    id         TEXT PRIMARY KEY,
    repository BIGINT NOT NULL REFERENCES repositories (id),
    principal  TEXT NOT NULL,
    blob_id    TEXT NOT NULL,
    size       BIGINT NOT NULL,
    state      BYTEA NOT NULL,
    parts      INTEGER NOT NULL DEFAULT 0,
    small_part BIGINT NOT NULL DEFAULT 0,
    started_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX uploads_by_age ON uploads (updated_at, id);
CREATE INDEX uploads_by_repository ON uploads (repository);
