"""What happens at each step of a job: one module for each state or function, free of Lambda.

Knows jobs, requests, the vendor's client and the copy, and joins them. Must not know event shapes or the environment;
the handlers in `functions/` do.

Four modules hold what several steps need: `claims`, `videos`, `retries` and `tries`. They are not in `shared.jobs`,
because they write logs and metrics and ask the daily limit, which that package must not know.
"""
