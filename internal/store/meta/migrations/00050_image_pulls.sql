-- +goose Up
-- Who pulled an image on a day, UTC: answers with its manifest. tag is the tag by which it was pulled, '' for a pull by digest. The row with
-- principal '' has all of the image that have no row of their own, and the one with repository '' all of the account.
CREATE TABLE image_pulls (
    account    TEXT NOT NULL,
    region     TEXT NOT NULL,
    repository TEXT NOT NULL, -- its name
    digest     TEXT NOT NULL,
    day        BIGINT NOT NULL,
    principal  TEXT NOT NULL, -- ARN, without the name of a session
    tag        TEXT NOT NULL,
    pulls      BIGINT NOT NULL,
    pulled_at  BIGINT NOT NULL, -- the last of them
    PRIMARY KEY (account, region, repository, digest, day, principal, tag)
);
-- The condition, which is true of all rows, keeps this index from statements that find a row by its key.
CREATE INDEX image_pulls_by_day ON image_pulls (day, account, principal) WHERE day > 0;

-- What a pull through cache rule did on a day, UTC.
CREATE TABLE cache_counts (
    account    TEXT NOT NULL,
    region     TEXT NOT NULL,
    prefix     TEXT NOT NULL,
    day        BIGINT NOT NULL,
    hits       BIGINT NOT NULL, -- manifests and layers that were stored
    misses     BIGINT NOT NULL, -- that were fetched
    stale      BIGINT NOT NULL, -- that were served although they could not be compared
    saved      BIGINT NOT NULL, -- bytes that were not fetched again
    fetched    BIGINT NOT NULL, -- bytes
    limited    BIGINT NOT NULL, -- answers of the other registry that too much was asked for
    limited_at BIGINT NOT NULL, -- the last of these, 0 for none
    PRIMARY KEY (account, region, prefix, day),
    FOREIGN KEY (account, region, prefix) REFERENCES cache_rules (account, region, prefix) ON DELETE CASCADE
);
CREATE INDEX cache_counts_by_day ON cache_counts (day) WHERE day > 0;
