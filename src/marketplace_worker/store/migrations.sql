-- Which migrations this database has had.

-- name: as_owner
-- For this transaction, as the user who logged in: the worker's own role may change no table, and
-- cannot read those of a schema that is older than it.
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
-- A large index takes longer than any statement of the worker may.
SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true);

-- name: lock
-- One migrating process at a time, for this transaction.  (An arbitrary number of our own.)
SELECT pg_advisory_xact_lock(7301900001);

-- name: exists
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: applied
SELECT version, name, checksum FROM schema_migrations ORDER BY version;

-- name: record
-- $1 version integer.  $2 name text.  $3 checksum text
-- One that was applied with an earlier text has now what that lacked.
INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)
ON CONFLICT (version) DO UPDATE SET checksum = excluded.checksum;
