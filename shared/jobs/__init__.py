"""What a job is: its record and statuses, where it is kept, how it is named, and what is said about it.

Knows the jobs table. Must not know what a job asks for, how the vendor is called, or how a file is copied.
"""
