-- +goose Up
-- What may be collected: a change that takes the last use of something inserts a row in its transaction. kind 1: a deleted
-- repository; 2: a deleted image; 3: a blob of a repository to which no image refers; 4: the same, condemned; 5: the bytes of
-- a blob that no repository holds, with repository 0. since is the time of the change.
CREATE TABLE candidates (
    kind       SMALLINT NOT NULL,
    repository BIGINT NOT NULL,
    digest     TEXT NOT NULL, -- '' for a repository
    since      BIGINT NOT NULL,
    PRIMARY KEY (kind, repository, digest)
);
CREATE INDEX candidates_by_time ON candidates (kind, since);

-- A condemned blob cannot be read. A push of it, or of an image that refers to it, takes the condemnation back. -1: a client has
-- removed it while a deleted image used it; only a push of it and a restoration of the image take that back.
ALTER TABLE repository_blobs ADD COLUMN condemned_at BIGINT NOT NULL DEFAULT 0;
-- 1 while the repository is being collected: it cannot be restored any more.
ALTER TABLE repositories ADD COLUMN collecting SMALLINT NOT NULL DEFAULT 0;
CREATE INDEX images_by_digest ON images (digest);

-- The collection itself: one row. Until prepared_at is set, nothing is collected: what was stored before this migration has no
-- candidates, and its references lack layers that may be elsewhere. ran_at is the time of the last collection. hold_until is the time
-- before which nothing that can be restored is removed.
CREATE TABLE collection (
    one         SMALLINT PRIMARY KEY CHECK (one = 1),
    prepared_at BIGINT NOT NULL,
    ran_at      BIGINT NOT NULL,
    hold_until  BIGINT NOT NULL
);
INSERT INTO collection (one, prepared_at, ran_at, hold_until) VALUES (1, 0, 0, 0);
