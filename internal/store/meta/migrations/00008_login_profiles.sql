-- +goose Up
-- Passwords of users, hashed; see identity.PasswordHash. The last sign-in of a user is in entities.last_used_at.
CREATE TABLE login_profiles (
    entity         TEXT PRIMARY KEY REFERENCES entities (id) ON DELETE CASCADE,
    hash           TEXT NOT NULL,
    reset_required SMALLINT NOT NULL,
    created_at     BIGINT NOT NULL
);
