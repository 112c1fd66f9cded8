-- +goose Up
-- Templates of repositories that ecrin creates by itself. prefix is without the last slash of written, or ROOT. cases: bits, see
-- meta.CreationCase. mutability and encryption are '' for the default of ECR. revision changes with each change.
CREATE TABLE creation_templates (
    account     TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    region      TEXT NOT NULL,
    prefix      TEXT NOT NULL,
    cases       SMALLINT NOT NULL,
    revision    BIGINT NOT NULL,
    written     TEXT NOT NULL,
    description TEXT NOT NULL,
    mutability  TEXT NOT NULL,
    exclusions  TEXT NOT NULL,
    encryption  TEXT NOT NULL,
    role        TEXT NOT NULL, -- ARN
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    labels      TEXT NOT NULL, -- JSON
    policy      TEXT NOT NULL,
    policy_ids  TEXT NOT NULL,
    lifecycle   TEXT NOT NULL,
    PRIMARY KEY (account, region, prefix)
);

-- Principals whose pulls do not count as uses of an image.
CREATE TABLE pull_time_exclusions (
    account    TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    region     TEXT NOT NULL,
    principal  TEXT NOT NULL, -- ARN
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, principal)
);

-- What cannot be deleted: 0 nothing is protected, 1 the repository, 2 also its images and tags.
ALTER TABLE repositories ADD COLUMN protection SMALLINT NOT NULL DEFAULT 0;
