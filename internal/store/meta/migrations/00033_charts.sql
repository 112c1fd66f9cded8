-- +goose Up
-- Helm charts among the files of releases, from which customers get them. signed is 1 if the release has the provenance file of the chart.
CREATE TABLE release_charts (
    application TEXT NOT NULL,
    sequence    BIGINT NOT NULL,
    name        TEXT NOT NULL,
    version     TEXT NOT NULL,
    path        TEXT NOT NULL, -- of the file
    signed      SMALLINT NOT NULL,
    PRIMARY KEY (application, sequence, name, version),
    FOREIGN KEY (application, sequence) REFERENCES releases (application, sequence) ON DELETE CASCADE
);
