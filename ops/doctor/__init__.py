"""Examine a deployed stack, or the cloud on a laptop: what holds, what does not, and what to do.

Only reads, and pays nothing: `deployment.RIGHTS` has every call that it makes of AWS, and of Genviral it asks the free
list of models. Must not know the command line or what is printed.
"""
