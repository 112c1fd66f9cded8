-- +goose Up
-- What pipelines have reported about images, one row for a manifest under the name that it was reported with. A row of an index has
-- is_list 1 and no config. details is JSON: layers, labels, Dockerfile, workflow, commit.
CREATE TABLE image_reports (
    account        TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    image          TEXT NOT NULL, -- as it was given
    digest         TEXT NOT NULL, -- of the manifest
    repository     TEXT NOT NULL, -- HOST/PATH
    tag            TEXT NOT NULL,
    parent         TEXT NOT NULL, -- digest of the index that it is in; '' for none
    is_list        SMALLINT NOT NULL,
    type           TEXT NOT NULL, -- of the registry
    config         TEXT NOT NULL, -- digest
    os             TEXT NOT NULL,
    architecture   TEXT NOT NULL,
    size           BIGINT NOT NULL, -- of config and layers
    created_at     BIGINT NOT NULL,
    reported_at    BIGINT NOT NULL,
    branch         TEXT NOT NULL,
    git_repository TEXT NOT NULL,
    revision       TEXT NOT NULL, -- of the commit
    message        TEXT NOT NULL, -- its first line
    pull           TEXT NOT NULL, -- URL of the newest pull request
    bytes          BIGINT NOT NULL, -- of details
    details        TEXT NOT NULL,
    PRIMARY KEY (account, image, digest)
);
CREATE INDEX image_reports_by_time ON image_reports (account, reported_at);

-- subject: the name or a digest of an image.
CREATE TABLE image_annotations (
    account TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    subject TEXT NOT NULL,
    key     TEXT NOT NULL,
    type    TEXT NOT NULL,
    value   TEXT NOT NULL, -- JSON
    set_at  BIGINT NOT NULL,
    PRIMARY KEY (account, subject, key)
);
CREATE INDEX image_annotations_by_time ON image_annotations (account, set_at);

-- Where images run, as it was reported; each row has one of in_use.
CREATE TABLE image_deployments (
    account     TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    application TEXT NOT NULL,
    namespace   TEXT NOT NULL,
    image       TEXT NOT NULL, -- as it was given
    repository  TEXT NOT NULL, -- HOST/PATH
    tag         TEXT NOT NULL,
    digest      TEXT NOT NULL,
    until       BIGINT NOT NULL,
    reported_at BIGINT NOT NULL,
    reported_by TEXT NOT NULL, -- an ARN
    PRIMARY KEY (account, application, namespace, image)
);
