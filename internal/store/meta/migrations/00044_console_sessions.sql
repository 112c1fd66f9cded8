-- +goose Up
-- Sessions of browsers. hash is the SHA-256 of what the cookie has, in hexadecimal digits; id is how lists name the session. principal is
-- the unique id of who signed in. It ends with access_key, or, signed in by a password, with the hash of the password, of which proof is
-- a MAC. switched is the access key of the session of a role that the user has switched to, '' for none. ends_at is the latest end.
CREATE TABLE console_sessions (
    hash TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    principal TEXT NOT NULL,
    access_key TEXT NOT NULL,
    proof TEXT NOT NULL,
    switched TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    used_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL
);
CREATE INDEX console_sessions_by_principal ON console_sessions (principal, used_at, hash);
CREATE INDEX console_sessions_by_end ON console_sessions (ends_at);
