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

-- A condemned blob cannot be read. A push of it, or of an image that refers to it, takes the condemnation back.
ALTER TABLE repository_blobs ADD COLUMN condemned_at BIGINT NOT NULL DEFAULT 0;
-- 1 while the repository is being collected: it cannot be restored any more.
ALTER TABLE repositories ADD COLUMN collecting SMALLINT NOT NULL DEFAULT 0;
CREATE INDEX images_by_digest ON images (digest);

INSERT INTO candidates (kind, repository, digest, since) SELECT 1, id, '', deleted_at FROM repositories WHERE deleted_at > 0;
INSERT INTO candidates (kind, repository, digest, since) SELECT 2, repository, digest, deleted_at FROM images WHERE deleted_at > 0;
INSERT INTO candidates (kind, repository, digest, since) SELECT 3, b.repository, b.digest, b.added_at FROM repository_blobs b
    WHERE NOT EXISTS (SELECT 1 FROM image_references r WHERE r.repository = b.repository AND r.target = b.digest AND r.kind IN (1, 3));
