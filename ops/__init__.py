"""The operator's commands: for a deployed stack, or for the cloud on a laptop (where AWS_ENDPOINT_URL says so).

Knows the stack's outputs and what a person may do with a job. Uses `shared.jobs` for every change, so no command can
make a transition that the table of states forbids. Not deployed.
"""
