-- +goose Up
-- The lifecycle policy of a repository. generation: another number after each change that can make an earlier decision wrong: of a
-- document, or of the images that are left (a deletion by a client, a removed tag, a tag that moved to an image that was there).
-- due_at: when the repository is evaluated next.
CREATE TABLE lifecycle_policies (
    repository   BIGINT PRIMARY KEY,
    account      TEXT NOT NULL,
    policy       TEXT NOT NULL, -- of ECR; '' for none
    extension    TEXT NOT NULL, -- of ecrin; '' for none
    generation   BIGINT NOT NULL,
    evaluated_at BIGINT NOT NULL,
    due_at       BIGINT NOT NULL
);
CREATE INDEX lifecycle_policies_due ON lifecycle_policies (due_at, repository);

-- The last preview of a repository. state: in progress (1), complete (2), failed (3), expired (4: it has no results any more).
CREATE TABLE lifecycle_previews (
    repository BIGINT PRIMARY KEY,
    id         BIGINT NOT NULL,
    policy     TEXT NOT NULL, -- of ECR
    state      SMALLINT NOT NULL,
    expiring   BIGINT NOT NULL, -- images
    archiving  BIGINT NOT NULL,
    ends_at    BIGINT NOT NULL -- when it expires
);
CREATE INDEX lifecycle_previews_ends ON lifecycle_previews (ends_at, repository) WHERE state < 4;

CREATE TABLE lifecycle_preview_results (
    repository BIGINT NOT NULL,
    preview    BIGINT NOT NULL, -- its id
    number     BIGINT NOT NULL, -- in the order of the push
    digest     TEXT NOT NULL,
    tags       TEXT NOT NULL, -- separated by spaces
    pushed_at  BIGINT NOT NULL,
    action     SMALLINT NOT NULL,
    priority   BIGINT NOT NULL,
    archived   SMALLINT NOT NULL, -- the image is in the archive class
    PRIMARY KEY (repository, preview, number)
);
CREATE INDEX lifecycle_preview_results_by_digest ON lifecycle_preview_results (repository, digest, preview);

-- Images that no lifecycle policy acts on: those that a user has pinned, and those that run somewhere, of all repositories of an account.
CREATE TABLE image_pins (
    repository BIGINT NOT NULL,
    digest     TEXT NOT NULL,
    principal  TEXT NOT NULL, -- an ARN
    reason     TEXT NOT NULL,
    pinned_at  BIGINT NOT NULL,
    PRIMARY KEY (repository, digest)
);
CREATE TABLE in_use (
    account TEXT NOT NULL,
    digest  TEXT NOT NULL,
    used_by TEXT NOT NULL,
    until   BIGINT NOT NULL,
    PRIMARY KEY (account, digest, used_by)
);
CREATE INDEX in_use_ended ON in_use (until);

-- When the image lost its last tag; 0 if it has tags, never had one, or lost it before this migration.
ALTER TABLE images ADD COLUMN untagged_at BIGINT NOT NULL DEFAULT 0;
