"""What happens at each step of a job: one module for each state or function, free of Lambda.

Knows jobs, requests, the vendor's client and the copy, and joins them. Must not know event shapes or the environment;
the handlers in `functions/` do.
"""
