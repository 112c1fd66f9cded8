-- +goose Up
-- The principal that began an upload or asked for a token or session, as limits count it: the same for all sessions of a
-- role. The rows that are here already count for nobody, except the uploads of users.
ALTER TABLE uploads ADD COLUMN limit_key TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN limit_key TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN limit_key TEXT NOT NULL DEFAULT '';
UPDATE uploads SET limit_key = principal;
CREATE INDEX uploads_by_limit_key ON uploads (limit_key);
CREATE INDEX tokens_by_limit_key ON tokens (limit_key);
CREATE INDEX sessions_by_limit_key ON sessions (limit_key);
