-- Of who is erased nothing is counted any more.

-- Serves `erased`.
CREATE INDEX organizations_erased ON organizations (organization_id)
WHERE document ->> 'erased_at' IS NOT NULL;
