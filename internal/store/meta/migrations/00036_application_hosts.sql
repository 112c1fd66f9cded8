-- +goose Up
-- Host names of vendors at which customers of one application pull.
CREATE TABLE application_hosts (
    host        TEXT PRIMARY KEY, -- in lower case, without a port
    account     TEXT NOT NULL,
    application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    created_at  BIGINT NOT NULL,
    created_by  TEXT NOT NULL
);
CREATE INDEX application_hosts_by_application ON application_hosts (application);
