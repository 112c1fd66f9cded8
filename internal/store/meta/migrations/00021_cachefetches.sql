-- +goose Up
-- What is fetched from other registries, so that one of several processes does it. key is a hash of what it is. lease is another number
-- each time that a process takes it; it has it until ends_at. With a failure, it is what nobody is to ask for until ends_at.
CREATE TABLE cache_fetches (
    key     TEXT PRIMARY KEY,
    node    TEXT NOT NULL, -- the process; '' with SQLite
    lease   BIGINT NOT NULL,
    upload  TEXT NOT NULL, -- the upload to which the bytes are written; '' before
    blob    TEXT NOT NULL, -- the id of its bytes
    failure TEXT NOT NULL, -- JSON
    ends_at BIGINT NOT NULL
);
CREATE INDEX cache_fetches_ends ON cache_fetches (ends_at);
CREATE INDEX cache_fetches_node ON cache_fetches (node, key);
