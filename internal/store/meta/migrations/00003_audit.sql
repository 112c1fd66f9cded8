-- +goose Up
-- Lines of the audit trail that were committed with their change and are not in the files of the trail yet: one row for
-- each commit. Identifiers grow in the order of the commits.
CREATE TABLE audit_pending (
    id    BIGINT PRIMARY KEY,
    lines BYTEA NOT NULL
);
