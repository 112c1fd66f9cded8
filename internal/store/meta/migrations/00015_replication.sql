-- +goose Up
-- The replication configuration of a registry: rules is the JSON of its rules. A registry without rules has no row.
CREATE TABLE replication_rules (
    account TEXT NOT NULL,
    region  TEXT NOT NULL,
    rules   TEXT NOT NULL,
    PRIMARY KEY (account, region)
);

-- How far the replication of an image to a destination is. state 1: in progress; 2: complete; 3: failed, with a code.
CREATE TABLE replications (
    repository BIGINT NOT NULL,
    digest     TEXT NOT NULL,
    account    TEXT NOT NULL, -- of the destination
    region     TEXT NOT NULL,
    state      SMALLINT NOT NULL,
    code       TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (repository, digest, account, region)
);

-- A backfill copies the images that the rules select now to one destination. status 1: preparing; 2: in progress; 3: complete; 4: failed;
-- 5: stopping; 6: stopped. codes: the different failure codes, separated by blanks.
CREATE TABLE backfills (
    id             BIGINT PRIMARY KEY,
    account        TEXT NOT NULL,
    region         TEXT NOT NULL,
    to_account     TEXT NOT NULL,
    to_region      TEXT NOT NULL,
    status         SMALLINT NOT NULL,
    code           TEXT NOT NULL,
    codes          TEXT NOT NULL,
    total          BIGINT NOT NULL,
    completed      BIGINT NOT NULL,
    failed         BIGINT NOT NULL,
    started_at     BIGINT NOT NULL,
    ended_at       BIGINT NOT NULL
);
CREATE INDEX backfills_of_registry ON backfills (account, region, id);

-- One image with one tag that a backfill has tried; tag '' for an image without tags.
CREATE TABLE backfill_results (
    backfill   BIGINT NOT NULL,
    repository TEXT NOT NULL,
    digest     TEXT NOT NULL,
    tag        TEXT NOT NULL,
    status     SMALLINT NOT NULL, -- as that of a backfill: 3 or 4
    code       TEXT NOT NULL,
    PRIMARY KEY (backfill, repository, digest, tag)
);
