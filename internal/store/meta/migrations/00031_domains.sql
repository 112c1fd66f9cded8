-- +goose Up
-- Hosts at which customers pull images. Of a channel: for what is promoted from now on, '' for those of the installation. Of a promotion:
-- as they were when it was made, '' for the host of a request.
ALTER TABLE channels ADD COLUMN proxy_domain TEXT NOT NULL DEFAULT '';
ALTER TABLE channels ADD COLUMN registry_domain TEXT NOT NULL DEFAULT '';
ALTER TABLE promotions ADD COLUMN proxy_domain TEXT NOT NULL DEFAULT '';
ALTER TABLE promotions ADD COLUMN registry_domain TEXT NOT NULL DEFAULT '';
