-- Serves `due_by_day`: when something happens next to the organizations on their way down, or with a
-- notice of inactivity.
CREATE INDEX organizations_calendar ON organizations (next_due_at) INCLUDE (state, organization_id)
WHERE watches_activity;
