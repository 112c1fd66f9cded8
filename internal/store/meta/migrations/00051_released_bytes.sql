-- +goose Up
-- Bytes of blobs that a repository holds no longer, because a collection or a client removed them.
ALTER TABLE usage_counters ADD COLUMN released BIGINT NOT NULL DEFAULT 0;
