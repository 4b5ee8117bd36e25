"""When the plans of an organization make it active.

`intervals`: of one plan; `attachments`: of a subscription, while it was the organization's;
`combined`: of all plans, laid over one another.
"""
