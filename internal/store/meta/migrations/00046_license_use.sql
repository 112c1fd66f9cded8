-- +goose Up
-- When the id of a licence was last used as a password, in microseconds, 0 for never, and from which address.
ALTER TABLE customers ADD COLUMN license_used_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE customers ADD COLUMN license_address TEXT NOT NULL DEFAULT '';
