-- +goose Up
-- Each push changed these indexes several times, and with PostgreSQL they made each change of a row of repository_totals insert into all
-- of them. A search sorts the repositories of a registry in memory.
DROP INDEX repository_totals_by_bytes;
DROP INDEX repository_totals_by_images;
DROP INDEX repository_totals_by_push;
DROP INDEX repository_totals_by_pull;
