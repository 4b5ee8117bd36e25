-- Logins by UTC day: who signed in when can be asked of any day that is kept, whatever was heard since.

-- Of each UTC day the first and the last login, over the 45 days up to the newest of the organization
-- (lifecycle.md section 5).  `last_at` moves with every batch, beside the key: the update stays on its
-- page.
CREATE TABLE login_days (
    organization_id text NOT NULL,
    day date NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, day),
    CHECK (first_at <= last_at)
) WITH (fillfactor = 70);

-- Of what was heard before, the newest login is known.
INSERT INTO login_days (organization_id, day, first_at, last_at)
SELECT organization_id, (last_login_at AT TIME ZONE 'UTC')::date, last_login_at, last_login_at
FROM activity
WHERE last_login_at IS NOT NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON login_days TO marketplace_worker_app;
