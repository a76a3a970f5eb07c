"""What the HTTP API does: create, read and cancel jobs, issue upload forms, and turn faults into HTTP errors.

Knows jobs, requests and how an execution starts. Must not know routes or HTTP responses; `functions/api` does.
"""
