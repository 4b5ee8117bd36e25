-- The policies that were ever in force, by version.

-- name: register
-- $1 version text.  $2 document text.  $3 first_used_at timestamptz
INSERT INTO policies (version, document, first_used_at)
VALUES ($1, $2::text::jsonb, $3)
ON CONFLICT (version) DO NOTHING;

-- name: read
-- $1 versions text[]
SELECT version, document FROM policies WHERE version = ANY($1::text[]);

-- name: in_force
-- The policy of the worker that started last; where none runs, the one that was first used last.
SELECT policies.document
FROM policies LEFT JOIN workers ON workers.policy_version = policies.version
ORDER BY workers.started_at DESC NULLS LAST, policies.first_used_at DESC
LIMIT 1;

-- name: read_all
-- A few rows: one for each version of the policy.
SELECT version, document FROM policies;
