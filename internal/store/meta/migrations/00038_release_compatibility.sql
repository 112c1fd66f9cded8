-- +goose Up
-- What the vendor has found out about releases on clusters. Times are microseconds, 0 for none.
CREATE TABLE release_compatibility (
    application   TEXT NOT NULL,
    sequence      BIGINT NOT NULL,
    distribution  TEXT NOT NULL,
    version       TEXT NOT NULL, -- of Kubernetes
    success_at    BIGINT NOT NULL,
    success_notes TEXT NOT NULL,
    failure_at    BIGINT NOT NULL,
    failure_notes TEXT NOT NULL,
    reported_at   BIGINT NOT NULL,
    reported_by   TEXT NOT NULL, -- ARN
    PRIMARY KEY (application, sequence, distribution, version),
    FOREIGN KEY (application, sequence) REFERENCES releases (application, sequence) ON DELETE CASCADE
);
