-- +goose Up
-- The labels of an image, from its config and its manifest: an object of texts. An image without labels has no row.
CREATE TABLE image_labels (
    repository BIGINT NOT NULL,
    digest     TEXT NOT NULL,
    labels     TEXT NOT NULL,
    PRIMARY KEY (repository, digest)
);

-- Images whose labels are to be read, from a time on. tries counts how often the config could not be read.
CREATE TABLE labels_due (
    repository BIGINT NOT NULL,
    digest     TEXT NOT NULL,
    due_at     BIGINT NOT NULL,
    tries      SMALLINT NOT NULL,
    PRIMARY KEY (repository, digest)
);
CREATE INDEX labels_due_by_time ON labels_due (due_at);
INSERT INTO labels_due (repository, digest, due_at, tries) SELECT repository, digest, 0, 0 FROM images WHERE deleted_at = 0;
