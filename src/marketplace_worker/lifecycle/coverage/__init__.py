"""When the plans of an organization make it active: `intervals` of one plan, and all `combined`."""
