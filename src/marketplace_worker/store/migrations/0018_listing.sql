-- Serve the lists of organizations.

-- What keeps an organization from its next step or its reinstatement; null: nothing but its
-- deadlines and holds.  Where several do, the one that has to be resolved first.
CREATE FUNCTION waits_for(document jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN document ->> 'published_closed' IS NOT NULL THEN 'judgement'
    WHEN document ->> 'pending' IS NOT NULL THEN document #>> '{pending,completed_by}'
    WHEN document ->> 'withheld_at' IS NOT NULL THEN 'guard'
    WHEN document ->> 'postponed_until' IS NOT NULL THEN 'feed'
END;

-- Serves `waiting`.  Few organizations wait for anything.
CREATE INDEX organizations_waiting ON organizations (waits_for(document), organization_id)
WHERE waits_for(document) IS NOT NULL;

-- Serves `held`.  An expired hold is removed when it expires.
CREATE INDEX organizations_held ON organizations (organization_id)
WHERE document #> '{holds,0}' IS NOT NULL;

-- Serves `of_marketplace`.  As wide as the key, so that Postgres has no reason to use it instead.
CREATE INDEX links_by_marketplace ON links (marketplace, organization_id, subscription_id);
