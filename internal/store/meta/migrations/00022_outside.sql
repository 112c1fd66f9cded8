-- +goose Up
-- Copies to destinations outside of the installation: integration is that by which the copy is made, 0 for a destination of the installation.
-- waiting_since is 0 for a copy that does not wait any more. version changes with each push of the image, so that the end of a copy is not
-- recorded for a later one.
ALTER TABLE replications ADD COLUMN integration BIGINT NOT NULL DEFAULT 0;
ALTER TABLE replications ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE replications ADD COLUMN waiting_since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE replications ADD COLUMN due_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE replications ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0;
CREATE INDEX replications_due ON replications (integration, due_at) WHERE waiting_since > 0;
CREATE INDEX replications_waiting ON replications (integration, waiting_since) WHERE waiting_since > 0;
