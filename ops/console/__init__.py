"""The console: one page that shows jobs and lets a person act, for a stack in AWS or the cloud on a laptop.

It serves a browser on this machine with the operator's own credentials, reads what `ops` reads, and changes jobs only
through `ops.operator` and `ops.submit`. Nothing deployed knows of it, and it must not know `local` or `functions`.
"""
