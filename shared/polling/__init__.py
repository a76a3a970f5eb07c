"""Decide when to poll: the policy, the durations it learns from, and the schedule of one job.

Knows time, chance and the durations in the jobs table. Must not know the vendor or Step Functions.
"""
