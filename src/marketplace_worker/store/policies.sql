-- The policies that were ever in force, by version.

-- name: register
-- $1 version text.  $2 document text.  $3 first_used_at timestamptz
INSERT INTO policies (version, document, first_used_at)
VALUES ($1, $2::text::jsonb, $3)
ON CONFLICT (version) DO NOTHING;

-- name: read
-- $1 versions text[]
SELECT version, document FROM policies WHERE version = ANY($1::text[]);

-- name: read_all
-- A few rows: one for each version of the policy.
SELECT version, document FROM policies;
