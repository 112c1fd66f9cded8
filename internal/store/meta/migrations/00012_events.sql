-- +goose Up
-- What has happened, for webhooks and `ecrin events`. id grows in the order of commits, so that a reader that has read up to an id has read
-- everything before it. Events with one order_key are delivered in this order.
CREATE TABLE events (
    id        BIGINT PRIMARY KEY,
    account   TEXT NOT NULL,
    region    TEXT NOT NULL,
    order_key TEXT NOT NULL,
    body      TEXT NOT NULL -- JSON, as it is delivered
);
CREATE INDEX events_of_registry ON events (account, region, id);

-- Receivers of the events of a registry. position: the events up to this id have been read; those that were not delivered are in
-- deliveries. failures: attempts since the last success, of all events. due_at: before it nothing is sent, because the receiver fails;
-- retry_at: when the next row of deliveries is due, 0 if there is none.
CREATE TABLE webhooks (
    id         BIGINT PRIMARY KEY,
    account    TEXT NOT NULL,
    region     TEXT NOT NULL,
    name       TEXT NOT NULL,
    host       TEXT NOT NULL,  -- of its URL, for people
    sealed     BYTEA NOT NULL, -- its URL and its secrets
    pattern    TEXT NOT NULL,  -- '' for all events
    enabled    SMALLINT NOT NULL,
    position   BIGINT NOT NULL,
    failures   BIGINT NOT NULL,
    due_at     BIGINT NOT NULL,
    retry_at   BIGINT NOT NULL,
    delivered  BIGINT NOT NULL, -- number of events
    status     INTEGER NOT NULL, -- of the last attempt, 0 if there was no answer
    error      TEXT NOT NULL,    -- of the last attempt
    tried_at   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);
CREATE UNIQUE INDEX webhooks_by_name ON webhooks (account, region, name);
-- The greatest one is an identifier that was given, although its event may have been deleted.
CREATE INDEX webhooks_by_position ON webhooks (position);

-- Events that a webhook has not received: waiting (state 1), or given up (2). position is the id of the event.
CREATE TABLE deliveries (
    webhook   BIGINT NOT NULL,
    position  BIGINT NOT NULL,
    order_key TEXT NOT NULL,
    body      TEXT NOT NULL,
    state     SMALLINT NOT NULL,
    attempts  BIGINT NOT NULL,
    since     BIGINT NOT NULL,
    due_at    BIGINT NOT NULL,
    status    INTEGER NOT NULL, -- of the last attempt, 0 if there was no answer
    error     TEXT NOT NULL,
    PRIMARY KEY (webhook, position)
);
CREATE INDEX deliveries_by_state ON deliveries (webhook, state, position);
