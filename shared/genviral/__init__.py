"""Call the vendor: Genviral's Partner API as this project uses it.

Knows the vendor's addresses, bodies and answers, and turns every answer into a typed value or a named error. Must not
know AWS, jobs or files. `client` starts and polls videos, `models` validates a request before it costs anything,
`errors` names what can go wrong. This package imports none of them itself, so only modules that validate pay the time
to import pydantic.
"""
