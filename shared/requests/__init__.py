"""Read what a job asks for: recipes, manifests, request files and batch files, up to the body of the generate call.

Knows S3 and the layout of the uploads bucket. Must not know executions, or how the vendor is called.
"""
