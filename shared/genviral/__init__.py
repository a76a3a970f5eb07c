"""Call the vendor: Genviral's Partner API as this project uses it.

Knows the vendor's addresses and bodies, and turns every response into a typed value or a named error. Must not know
AWS, jobs or files. `client` starts and polls videos, `models` validates a request before it costs anything,
`errors` defines what can go wrong. The package itself imports none of them, so only modules that validate import
pydantic.
"""
