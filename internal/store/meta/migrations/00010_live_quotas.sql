-- +goose Up
-- Quotas count the tokens and sessions that have not expired.
CREATE INDEX tokens_by_limit_key_and_end ON tokens (limit_key, expires_at);
CREATE INDEX sessions_by_limit_key_and_end ON sessions (limit_key, expires_at);
DROP INDEX tokens_by_limit_key;
DROP INDEX sessions_by_limit_key;
