"""What a job is: its record and states, where it is kept, how it is named, what it asks for and when it is looked at.

Knows DynamoDB, S3 and Step Functions. Must not know how the vendor is called or how a file is copied.
"""
