-- +goose Up
-- Requests of customers, and refused ones without a licence. A row has no reference to its application: there can be a million of them,
-- which go later than it.
CREATE TABLE pull_log (
    id              BIGINT PRIMARY KEY,
    application     TEXT NOT NULL,
    customer        TEXT NOT NULL, -- '' for a request without a valid licence
    at              BIGINT NOT NULL,
    request         TEXT NOT NULL,
    token           TEXT NOT NULL, -- name of the token; '' for the licence itself
    kind            TEXT NOT NULL, -- PROXY, REGISTRY or CHART
    action          TEXT NOT NULL, -- MANIFEST, HEAD, BLOB, LIST, WRITE or AUTH
    image           TEXT NOT NULL,
    reference       TEXT NOT NULL, -- of the request
    digest          TEXT NOT NULL, -- of what was sent
    sent            BIGINT NOT NULL, -- bytes
    address         TEXT NOT NULL,
    agent           TEXT NOT NULL,
    status          BIGINT NOT NULL,
    code            TEXT NOT NULL, -- '' for a success
    upstream_status BIGINT NOT NULL, -- of the external registry that failed; 0 for none
    upstream_code   TEXT NOT NULL
);
CREATE INDEX pull_log_by_time ON pull_log (application, at, id);
CREATE INDEX pull_log_by_customer ON pull_log (application, customer, at, id);

-- What was sent to customers in a month, by image; with customer '' to all together. Image '' is all that has no row of its own.
CREATE TABLE egress (
    application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    month       BIGINT NOT NULL, -- 202611
    customer    TEXT NOT NULL,
    kind        TEXT NOT NULL,
    image       TEXT NOT NULL,
    pulls       BIGINT NOT NULL,
    sent        BIGINT NOT NULL,
    PRIMARY KEY (application, month, customer, kind, image)
);
-- The sums of a month: of each customer, and with customer '' of the application.
CREATE TABLE egress_months (
    application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    month       BIGINT NOT NULL,
    customer    TEXT NOT NULL,
    pulls       BIGINT NOT NULL,
    sent        BIGINT NOT NULL,
    PRIMARY KEY (application, month, customer)
);
CREATE TABLE egress_thresholds (
    application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    customer    TEXT NOT NULL, -- '' for the sum of all customers
    bytes       BIGINT NOT NULL,
    region      TEXT NOT NULL, -- of the events
    updated_at  BIGINT NOT NULL,
    updated_by  TEXT NOT NULL,
    PRIMARY KEY (application, customer)
);
-- The thresholds that were reached, so that each has one event in a month.
CREATE TABLE egress_reached (
    application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    month       BIGINT NOT NULL,
    customer    TEXT NOT NULL,
    bytes       BIGINT NOT NULL, -- of the threshold
    at          BIGINT NOT NULL,
    PRIMARY KEY (application, month, customer, bytes)
);
-- The last pull of each image by a customer and reference, a tag or a digest.
CREATE TABLE pulled_images (
    application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    customer    TEXT NOT NULL,
    image       TEXT NOT NULL,
    reference   TEXT NOT NULL,
    digest      TEXT NOT NULL,
    token       TEXT NOT NULL,
    pulled_at   BIGINT NOT NULL,
    PRIMARY KEY (application, customer, image, reference)
);
-- The denials of an hour that have had their event.
CREATE TABLE pull_denials (
    application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    hour        BIGINT NOT NULL,
    customer    TEXT NOT NULL,
    image       TEXT NOT NULL,
    PRIMARY KEY (application, hour, customer, image)
);
