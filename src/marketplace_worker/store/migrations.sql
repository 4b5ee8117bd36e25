-- The migrations that were applied to this database.

-- name: as_owner
-- Uses the role of the login for this transaction: the worker's own role may not change tables, and
-- cannot read tables of a schema that is older than the role.
SET LOCAL ROLE NONE;

-- name: encoding
SELECT current_setting('server_encoding');

-- name: prepare
CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: unbound
-- Building a large index takes longer than the worker's statement timeout.
SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true);

-- name: lock
-- Allows one migrating process at a time, until the end of the transaction.  (An arbitrary number.)
SELECT pg_advisory_xact_lock(7301900001);

-- name: exists
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: applied
SELECT version, name, checksum FROM schema_migrations ORDER BY version;

-- name: record
-- $1 version integer.  $2 name text.  $3 checksum text
-- A row that exists was applied with an earlier text and has been amended.
INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)
ON CONFLICT (version) DO UPDATE SET checksum = excluded.checksum;
