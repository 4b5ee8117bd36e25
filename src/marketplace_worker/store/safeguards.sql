-- The protection against mass suspension: one row, the last lock of any transaction.

-- name: read
SELECT document FROM safeguards;

-- name: lock
SELECT document FROM safeguards FOR UPDATE;

-- name: save
-- The row is locked by the caller.
-- $1 document text
UPDATE safeguards SET document = $1::text::jsonb;
