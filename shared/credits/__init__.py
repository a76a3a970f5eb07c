"""The daily credit limit: the limiter that judges a job, and the counter in the jobs table.

Knows prices and the counter's items. Must not know Lambda, or what becomes of a job that the limit does not cover.
"""
