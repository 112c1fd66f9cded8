-- +goose Up
-- What webhooks were told, so that each is told once. Of licences: 0 nothing, 1 that it ends soon, 2 that it has ended.
ALTER TABLE customers ADD COLUMN told SMALLINT NOT NULL DEFAULT 0;
CREATE INDEX customers_by_told ON customers (told, expires_at, id);
-- behind and inactive are 1 while the installation is so and was told to be; ready_at is when it was last told to be ready, 0 for never.
ALTER TABLE instances ADD COLUMN behind SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN inactive SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN ready_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX instances_by_seen ON instances (inactive, last_seen, customer, id);
