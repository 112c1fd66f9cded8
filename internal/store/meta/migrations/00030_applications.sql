-- +goose Up
-- Applications that a vendor ships to customers. sealed is the private key that signs licences, public_key its public half as PEM.
CREATE TABLE applications (
    id            TEXT PRIMARY KEY,
    account       TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    slug          TEXT NOT NULL,
    name          TEXT NOT NULL,
    sealed        BYTEA NOT NULL,
    public_key    TEXT NOT NULL,
    last_release  BIGINT NOT NULL, -- sequence of the newest release; 0 for none
    release_bytes BIGINT NOT NULL, -- of all releases
    created_at    BIGINT NOT NULL,
    created_by    TEXT NOT NULL
);
CREATE UNIQUE INDEX applications_by_slug ON applications (account, slug);
CREATE TABLE channels (
    id              TEXT PRIMARY KEY,
    application     TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    name            TEXT NOT NULL,
    slug            TEXT NOT NULL,
    description     TEXT NOT NULL,
    is_default      SMALLINT NOT NULL,
    semver_required SMALLINT NOT NULL,
    archived_at     BIGINT NOT NULL, -- 0 for never
    last_sequence   BIGINT NOT NULL, -- of promotions
    created_at      BIGINT NOT NULL
);
CREATE UNIQUE INDEX channels_by_slug ON channels (application, slug);
CREATE INDEX channels_by_age ON channels (application, id); -- the ids grow with time
-- files is the JSON of the files, compressed.
CREATE TABLE releases (
    application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    sequence    BIGINT NOT NULL,
    files       BYTEA NOT NULL,
    spec        TEXT NOT NULL, -- form in which the files were given: json or yaml
    bytes       BIGINT NOT NULL, -- of files
    promoted    SMALLINT NOT NULL, -- ever: it does not change any more
    archived_at BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    edited_at   BIGINT NOT NULL,
    created_by  TEXT NOT NULL,
    PRIMARY KEY (application, sequence)
);
-- Images that the files of a release name, by which entitlements to a channel are decided. repository is HOST/PATH as written.
CREATE TABLE release_images (
    application TEXT NOT NULL,
    sequence    BIGINT NOT NULL,
    repository  TEXT NOT NULL,
    tag         TEXT NOT NULL,
    digest      TEXT NOT NULL,
    PRIMARY KEY (application, sequence, repository, tag, digest),
    FOREIGN KEY (application, sequence) REFERENCES releases (application, sequence) ON DELETE CASCADE
);
CREATE INDEX release_images_by_repository ON release_images (application, repository, sequence, tag, digest);
CREATE TABLE promotions (
    channel       TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    sequence      BIGINT NOT NULL, -- of the channel
    application   TEXT NOT NULL,
    release       BIGINT NOT NULL,
    version_label TEXT NOT NULL,
    notes         TEXT NOT NULL,
    required      SMALLINT NOT NULL,
    promoted_at   BIGINT NOT NULL,
    promoted_by   TEXT NOT NULL,
    demoted_at    BIGINT NOT NULL, -- 0 for a promotion that is offered
    PRIMARY KEY (channel, sequence),
    FOREIGN KEY (application, release) REFERENCES releases (application, sequence) ON DELETE CASCADE
);
CREATE INDEX promotions_by_release ON promotions (application, release);
-- Customers of an application. sealed is the id of the licence, license_hash its SHA-256. details is JSON: e-mail, type, features, fields.
CREATE TABLE customers (
    id               TEXT PRIMARY KEY,
    application      TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    account          TEXT NOT NULL,
    name             TEXT NOT NULL,
    custom_id        TEXT NOT NULL,
    sealed           BYTEA NOT NULL,
    license_hash     TEXT NOT NULL,
    license_sequence BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL, -- 0 for never
    archived_at      BIGINT NOT NULL, -- 0 for never
    details          TEXT NOT NULL,
    version          BIGINT NOT NULL, -- changes with each change
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    created_by       TEXT NOT NULL
);
CREATE UNIQUE INDEX customers_by_license ON customers (license_hash);
CREATE INDEX customers_by_custom_id ON customers (application, custom_id, id);
CREATE INDEX customers_by_name ON customers (application, name, id);
CREATE TABLE customer_channels (
    customer    TEXT NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    channel     TEXT NOT NULL REFERENCES channels (id),
    is_default  SMALLINT NOT NULL,
    pinned      BIGINT NOT NULL, -- sequence of the channel that is the newest offered; 0 for none
    PRIMARY KEY (customer, channel)
);
CREATE INDEX customer_channels_by_channel ON customer_channels (channel);
-- Further passwords of a customer. hash is the SHA-256 of the token.
CREATE TABLE customer_tokens (
    customer     TEXT NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    hash         TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    created_by   TEXT NOT NULL,
    rotated_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    last_address TEXT NOT NULL,
    PRIMARY KEY (customer, name)
);
CREATE UNIQUE INDEX customer_tokens_by_hash ON customer_tokens (hash);
-- What customers may pull: rule is JSON. customer is '' for all customers of the application.
CREATE TABLE entitlements (
    id          TEXT PRIMARY KEY,
    application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    customer    TEXT NOT NULL,
    rule        TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    created_by  TEXT NOT NULL
);
CREATE INDEX entitlements_by_customer ON entitlements (application, customer, id);
-- The root key of the installation, which signs the keys of applications: installers have its public half.
CREATE TABLE license_root (
    purpose    TEXT PRIMARY KEY, -- licenses
    sealed     BYTEA NOT NULL,
    public_key TEXT NOT NULL, -- PEM
    created_at BIGINT NOT NULL
);
