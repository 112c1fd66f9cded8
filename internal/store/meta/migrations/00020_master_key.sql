-- +goose Up
-- Which master key seals the values of the database: its id (see identity.Keyring.ID), '' before the first start that recorded it, and
-- since when.
ALTER TABLE installation ADD COLUMN master_key TEXT NOT NULL DEFAULT '';
ALTER TABLE installation ADD COLUMN master_key_since BIGINT NOT NULL DEFAULT 0;

-- Keys that were derived from earlier master keys, for what clients hold: docker passwords and session tokens. Each is sealed with the
-- present master key, and deleted when everything that it has sealed has expired.
CREATE TABLE kept_keys (
    purpose    TEXT NOT NULL,
    master_key TEXT NOT NULL, -- id of the earlier master key
    sealed     BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (purpose, master_key)
);
CREATE INDEX kept_keys_by_end ON kept_keys (expires_at);
