-- +goose Up
-- Installations of customers, as they were seen last: by checks for updates, and by what they report.
CREATE TABLE instances (
    application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    customer    TEXT NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    id          TEXT NOT NULL,
    cluster     TEXT NOT NULL,
    channel     TEXT NOT NULL,
    sequence    BIGINT NOT NULL, -- of the channel, of the version that runs; 0 for none
    kubernetes  TEXT NOT NULL,
    status      TEXT NOT NULL,
    address     TEXT NOT NULL,
    first_seen  BIGINT NOT NULL,
    last_seen   BIGINT NOT NULL,
    PRIMARY KEY (customer, id)
);
CREATE INDEX instances_by_application ON instances (application, customer, id);
