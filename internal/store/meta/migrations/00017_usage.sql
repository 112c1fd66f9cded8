-- +goose Up
-- What each repository has: its images that are not deleted, and the bytes of the blobs that it holds, also of those that deleted
-- images use. The row is inserted and removed with that of the repository.
CREATE TABLE repository_totals (
    repository BIGINT PRIMARY KEY,
    account    TEXT NOT NULL,
    region     TEXT NOT NULL,
    images     BIGINT NOT NULL,
    bytes      BIGINT NOT NULL
);
CREATE INDEX repository_totals_by_account ON repository_totals (account, region, repository);
INSERT INTO repository_totals (repository, account, region, images, bytes)
    SELECT r.id, r.account, r.region,
        (SELECT COUNT(*) FROM images i WHERE i.repository = r.id AND i.deleted_at = 0),
        (SELECT COALESCE(SUM(b.size), 0) FROM repository_blobs b WHERE b.repository = r.id)
    FROM repositories r;

-- Limits of the repositories of an account whose names have a prefix, '' for all; -1 for no limit. The last three columns are what they
-- have: bytes until they are collected, the others until they are deleted.
CREATE TABLE storage_quotas (
    account          TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    prefix           TEXT NOT NULL,
    max_repositories BIGINT NOT NULL,
    max_images       BIGINT NOT NULL,
    max_bytes        BIGINT NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    repositories     BIGINT NOT NULL,
    images           BIGINT NOT NULL,
    bytes            BIGINT NOT NULL,
    PRIMARY KEY (account, prefix)
);

-- What happened in an hour (daily 0) or a day (daily 1) that began at start, UTC: kind 1 by repository, kind 2 by principal. What is
-- beyond the number of rows that an account may have for one hour or day is in the row with region '' and subject ''.
CREATE TABLE usage_counters (
    account TEXT NOT NULL,
    kind    SMALLINT NOT NULL,
    daily   SMALLINT NOT NULL,
    start   BIGINT NOT NULL,
    region  TEXT NOT NULL,
    subject TEXT NOT NULL, -- name of a repository, or ARN of a principal
    pulls   BIGINT NOT NULL,
    pushes  BIGINT NOT NULL,
    denials BIGINT NOT NULL,
    sent    BIGINT NOT NULL, -- bytes
    stored  BIGINT NOT NULL, -- bytes
    PRIMARY KEY (account, kind, daily, start, region, subject)
);
