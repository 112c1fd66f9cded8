-- +goose Up
-- Lines of the audit trail that were committed with their change and are not in the trail's files yet: a row for each
-- commit. Identifiers grow from one to the next.
CREATE TABLE audit_pending (
    id    BIGINT PRIMARY KEY,
    lines BYTEA NOT NULL
);
