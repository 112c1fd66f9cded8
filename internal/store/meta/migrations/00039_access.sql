-- +goose Up
-- Requests for access to repositories, which need not exist: repository is the number of the one that was asked for, 0 for none. Times are
-- microseconds. until is when an open request expires, when a grant ends, or when a refused or withdrawn one can be asked again.
-- held_until is until of those that hold a place of their principal and of the owner, 0 of all others.
CREATE TABLE access_requests (
    id             BIGINT PRIMARY KEY,
    account        TEXT NOT NULL, -- of the owner; it need not exist
    region         TEXT NOT NULL,
    name           TEXT NOT NULL,
    repository     BIGINT NOT NULL,
    permission     TEXT NOT NULL, -- PULL or PUSH
    asking_account TEXT NOT NULL,
    pool           TEXT NOT NULL, -- whose places it takes: 'ACCOUNT own' of the owner's principals, 'ACCOUNT others' of all others
    share          TEXT NOT NULL, -- 'ACCOUNT ASKING_ACCOUNT'
    principal      TEXT NOT NULL, -- unique id of a user or role, or an account
    principal_arn  TEXT NOT NULL,
    reason         TEXT NOT NULL,
    asked          BIGINT NOT NULL, -- how often
    created_at     BIGINT NOT NULL,
    asked_at       BIGINT NOT NULL,
    state          SMALLINT NOT NULL, -- 0 open, 1 granted, 2 refused, 3 withdrawn, 4 ended, 5 expired
    until          BIGINT NOT NULL,
    held_until     BIGINT NOT NULL,
    decided_at     BIGINT NOT NULL,
    decided_by     TEXT NOT NULL, -- ARN
    note           TEXT NOT NULL -- of the decision
);
CREATE INDEX access_requests_by_registry ON access_requests (account, region, id);
CREATE INDEX access_requests_by_state ON access_requests (account, region, state, id);
CREATE INDEX access_requests_by_principal ON access_requests (principal, id);
CREATE INDEX access_requests_by_place ON access_requests (principal, held_until);
CREATE INDEX access_requests_by_asking ON access_requests (asking_account, held_until);
CREATE INDEX access_requests_by_pool ON access_requests (pool, held_until);
CREATE INDEX access_requests_by_share ON access_requests (share, held_until);
CREATE INDEX access_requests_by_end ON access_requests (state, until, id);

-- What was granted: a policy of the repository for one principal until a time. The row of the request has the rest.
CREATE TABLE access_grants (
    request    BIGINT PRIMARY KEY,
    repository BIGINT NOT NULL,
    principal  TEXT NOT NULL,
    policy     TEXT NOT NULL,
    policy_ids TEXT NOT NULL, -- see repositories
    ends_at    BIGINT NOT NULL
);
CREATE INDEX access_grants_by_repository ON access_grants (repository, ends_at);
