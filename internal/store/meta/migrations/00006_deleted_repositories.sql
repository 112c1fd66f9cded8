-- +goose Up
-- Deleted repositories of a registry, which can be listed and restored.
CREATE INDEX repositories_deleted ON repositories (account, region, id) WHERE deleted_at > 0;
