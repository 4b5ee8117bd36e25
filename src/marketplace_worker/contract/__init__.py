"""The wire: inbound and outbound CloudEvents, the policy file, and the schemas that describe them.

Pydantic lives here (and in the settings); inside, everything is a value of `lifecycle`.
"""
