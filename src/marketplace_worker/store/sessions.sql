-- Prepares a connection, and checks whether it has its own session of the server.

-- name: server_process
-- The server process that answers.  With a pooler it is not the one that accepted the connection.
SELECT pg_backend_pid();

-- name: begin
-- $1 statement_timeout text (ms).  $2 lock_timeout text (ms).
-- $3 idle_in_transaction_session_timeout text (ms).  $4 role text
-- These are not sent as startup parameters, because poolers refuse or ignore those.
-- Before the first migration the role does not exist and is not needed.
SELECT set_config('application_name', 'marketplace-worker', false),
       set_config('statement_timeout', $1, false),
       set_config('lock_timeout', $2, false),
       set_config('idle_in_transaction_session_timeout', $3, false),
       set_config('timezone', 'UTC', false),
       CASE WHEN to_regrole($4) IS NOT NULL THEN set_config('role', $4, false) END;

-- name: begin_reading
-- With the rights of the login, which may be few; no transaction may write.
-- $1 statement_timeout text (ms).  $2 lock_timeout text (ms).
-- $3 idle_in_transaction_session_timeout text (ms)
SELECT set_config('application_name', 'marketplace-worker console', false),
       set_config('statement_timeout', $1, false),
       set_config('lock_timeout', $2, false),
       set_config('idle_in_transaction_session_timeout', $3, false),
       set_config('timezone', 'UTC', false),
       set_config('default_transaction_read_only', 'on', false);

-- name: read_back
-- $1 role text
SELECT (extract(epoch FROM current_setting('statement_timeout')::interval) * 1000)::integer
           AS statement_timeout_ms,
       (extract(epoch FROM current_setting('lock_timeout')::interval) * 1000)::integer
           AS lock_timeout_ms,
       (extract(epoch FROM current_setting('idle_in_transaction_session_timeout')::interval)
           * 1000)::integer AS idle_in_transaction_ms,
       current_setting('timezone') AS timezone,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('default_transaction_read_only') = 'on' AS reads_only,
       CASE WHEN to_regrole($1) IS NOT NULL THEN current_user END AS works_as;
