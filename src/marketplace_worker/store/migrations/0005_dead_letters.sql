-- What becomes of a dead letter: tried again, discarded, by whom and why.

-- `status`: it waits for a person; a redrive took it in; or somebody decided that nobody needs it.
-- `attempts`: how often it was tried to take it in.  `acted_by`, `acted_because`, `acted_at`: who
-- did what was done last, a redrive that was refused again included.
-- `counted`: its partition had been read past it before, so what activity it tells was counted then.
-- `group_id`: a short name of topic, field and reason (`group_of` in store/dead_letters.py).
ALTER TABLE dead_letters
    ADD COLUMN status text NOT NULL DEFAULT 'waiting'
        CHECK (status IN ('waiting', 'redriven', 'discarded')),
    ADD COLUMN attempts integer NOT NULL DEFAULT 1 CHECK (attempts >= 1),
    ADD COLUMN counted boolean NOT NULL DEFAULT false,
    ADD COLUMN acted_by text,
    ADD COLUMN acted_because text,
    ADD COLUMN acted_at timestamptz,
    ADD COLUMN group_id text,
    ADD CONSTRAINT who_acts_says_why CHECK (num_nulls(acted_by, acted_because, acted_at) IN (0, 3)),
    ADD CONSTRAINT what_waits_no_more_was_acted_on CHECK (
        status = 'waiting' OR acted_at IS NOT NULL
    );

UPDATE dead_letters
SET group_id = left(encode(sha256(convert_to(
    concat_ws(
        chr(31), topic, regexp_replace(field, '(?<![^.\[])[0-9]+(?![^.\]])', '*', 'g'), reason
    ),
    'UTF8'
)), 'hex'), 8);
ALTER TABLE dead_letters ALTER COLUMN group_id SET NOT NULL;

-- Serves `waiting`: most rows wait no more.
CREATE INDEX dead_letters_waiting ON dead_letters (id) WHERE status = 'waiting';

-- Serves `waiting_of_group`, `page` of a group, and `knows_group`.
CREATE INDEX dead_letters_by_group ON dead_letters (group_id, status, id);
