-- +goose Up
-- Integrations whose registries the customers of applications get images of. application is '' for all applications of the account.
CREATE TABLE shared_registries (
    account     TEXT NOT NULL,
    integration BIGINT NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    application TEXT NOT NULL,
    uncached    SMALLINT NOT NULL, -- layers are not stored
    created_at  BIGINT NOT NULL,
    created_by  TEXT NOT NULL,
    PRIMARY KEY (integration, application)
);
CREATE INDEX shared_registries_by_application ON shared_registries (account, application, integration);
