-- +goose Up
-- The repositories of reports and of what runs, by name, each with its last report: a listing of them reads no rows of others. An index of
-- images (is_list 1) is no image of its own, and not in it.
CREATE INDEX image_reports_by_repository ON image_reports (account, repository, reported_at) WHERE is_list = 0;
CREATE INDEX image_deployments_by_repository ON image_deployments (account, repository, until, reported_at);
