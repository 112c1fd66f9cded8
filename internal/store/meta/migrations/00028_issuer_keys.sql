-- +goose Up
-- The public keys of an OIDC provider, as a JWK set, that were uploaded. A provider without a row publishes its keys itself.
CREATE TABLE issuer_keys (
    entity     TEXT PRIMARY KEY REFERENCES entities (id) ON DELETE CASCADE,
    keys       TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    updated_by TEXT NOT NULL
);
