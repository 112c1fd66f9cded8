-- +goose Up
-- The repositories of a registry by their last push and pull, for pages that list them so. A push changes pushed_at once, and a pull
-- pulled_at once in an hour; images and bytes, which each blob changes, have no index, so that these changes write none.
CREATE INDEX repository_totals_by_push ON repository_totals (account, region, pushed_at, repository);
CREATE INDEX repository_totals_by_pull ON repository_totals (account, region, pulled_at, repository);
