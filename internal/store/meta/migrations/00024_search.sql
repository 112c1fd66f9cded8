-- +goose Up
-- Searches read the images of a registry, ACCOUNT/REGION, and its repositories in the order of what they are sorted by.
ALTER TABLE images ADD COLUMN registry TEXT NOT NULL DEFAULT '';
UPDATE images SET registry = (SELECT r.account || '/' || r.region FROM repositories r WHERE r.id = images.repository);
CREATE INDEX images_by_size ON images (registry, size, repository, digest) WHERE deleted_at = 0;
CREATE INDEX images_by_push ON images (registry, pushed_at, repository, digest) WHERE deleted_at = 0;
CREATE INDEX images_by_pull ON images (registry, pulled_at, repository, digest) WHERE deleted_at = 0;

-- With both columns it finds an image as well as the primary key, whichever of them a planner takes.
DROP INDEX images_by_digest;
CREATE INDEX images_by_digest ON images (digest, repository);

-- When an image of the repository was pushed last, and pulled last, also one that is deleted.
ALTER TABLE repository_totals ADD COLUMN pushed_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE repository_totals ADD COLUMN pulled_at BIGINT NOT NULL DEFAULT 0;
UPDATE repository_totals SET
    pushed_at = COALESCE((SELECT MAX(i.pushed_at) FROM images i WHERE i.repository = repository_totals.repository), 0),
    pulled_at = COALESCE((SELECT MAX(i.pulled_at) FROM images i WHERE i.repository = repository_totals.repository), 0);
CREATE INDEX repository_totals_by_bytes ON repository_totals (account, region, bytes, repository);
CREATE INDEX repository_totals_by_images ON repository_totals (account, region, images, repository);
CREATE INDEX repository_totals_by_push ON repository_totals (account, region, pushed_at, repository);
CREATE INDEX repository_totals_by_pull ON repository_totals (account, region, pulled_at, repository);
