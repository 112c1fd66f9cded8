-- +goose Up
-- The data of IAM and STS. Lists and maps are JSON.

-- Users, groups, roles, customers' managed policies, instance profiles and identity providers; kind as in EntityKind.
CREATE TABLE entities (
    id               TEXT PRIMARY KEY,
    account          TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    kind             SMALLINT NOT NULL,
    name             TEXT NOT NULL,
    folded           TEXT NOT NULL, -- the name in lower case: names are unique regardless of case
    path             TEXT NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    description      TEXT NOT NULL,
    boundary         TEXT NOT NULL,
    trust            TEXT NOT NULL,
    trust_ids        TEXT NOT NULL,
    max_session      BIGINT NOT NULL, -- seconds
    service          TEXT NOT NULL,
    default_version  INTEGER NOT NULL,
    last_version     INTEGER NOT NULL,
    client_ids       TEXT NOT NULL,
    thumbprints      TEXT NOT NULL,
    last_used_at     BIGINT NOT NULL DEFAULT 0,
    last_used_region TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX entities_by_folded ON entities (account, kind, folded);
CREATE UNIQUE INDEX entities_by_name ON entities (account, kind, name);
CREATE INDEX entities_by_boundary ON entities (account, boundary, kind, name) WHERE boundary <> '';

CREATE TABLE entity_tags (
    entity TEXT NOT NULL REFERENCES entities (id) ON DELETE CASCADE,
    tag    TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (entity, tag)
);

-- Inline policies.
CREATE TABLE entity_policies (
    entity TEXT NOT NULL REFERENCES entities (id) ON DELETE CASCADE,
    name   TEXT NOT NULL,
    body   TEXT NOT NULL,
    PRIMARY KEY (entity, name)
);

-- Attached managed policies, by their ARN: the managed policies of AWS have no row in entities.
CREATE TABLE entity_attachments (
    entity TEXT NOT NULL REFERENCES entities (id) ON DELETE CASCADE,
    policy TEXT NOT NULL,
    PRIMARY KEY (entity, policy)
);
CREATE INDEX entity_attachments_by_policy ON entity_attachments (policy, entity);

-- Users in groups, roles in instance profiles.
CREATE TABLE entity_members (
    container TEXT NOT NULL REFERENCES entities (id) ON DELETE CASCADE,
    member    TEXT NOT NULL REFERENCES entities (id) ON DELETE CASCADE,
    PRIMARY KEY (container, member)
);
CREATE INDEX entity_members_by_member ON entity_members (member, container);

CREATE TABLE policy_versions (
    policy     TEXT NOT NULL REFERENCES entities (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    body       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (policy, number)
);

CREATE TABLE sessions (
    access_key    TEXT PRIMARY KEY,
    account       TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    kind          SMALLINT NOT NULL,
    principal     TEXT NOT NULL,
    name          TEXT NOT NULL,
    sealed_secret BYTEA NOT NULL,
    limits        TEXT NOT NULL, -- JSON: session policies, tags, claims
    issued_at     BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL
);
CREATE INDEX sessions_by_end ON sessions (expires_at);
CREATE INDEX sessions_by_account ON sessions (account);

CREATE TABLE registry_policies (
    account    TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    region     TEXT NOT NULL,
    policy     TEXT NOT NULL,
    policy_ids TEXT NOT NULL,
    PRIMARY KEY (account, region)
);

-- Control policies of the operator; account '' means all accounts.
CREATE TABLE control_policies (
    kind       TEXT NOT NULL,
    account    TEXT NOT NULL,
    name       TEXT NOT NULL,
    body       TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (kind, account, name)
);

CREATE INDEX accounts_by_alias ON accounts (alias) WHERE alias <> '';
