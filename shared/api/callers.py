"""Identify who calls the HTTP API. The idempotency keys of different callers are kept apart.

Knows what API Gateway says about a caller. Must not know what the caller asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROGRAM = ("client_id", "azp")
"""Claims that name the program which got the token, in order of preference: RFC 9068, section 2.2, OpenID Connect."""
_NOBODY = "anonymous"


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller of the API.

    Attributes:
        name: The scope of its idempotency keys. The records of its jobs have it.
        former_name: Its scope in earlier releases, which others may have shared; None: the same.
    """

    name: str
    former_name: str | None = None


def caller_of(event: Mapping[str, Any]) -> Caller:
    """Name the caller of a request by what API Gateway found out: an AWS principal, a token, or nobody (laptop).

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """
    authorizer = event.get("requestContext", {}).get("authorizer") or {}
    if iam := authorizer.get("iam"):
        return _principal(iam)
    if claims := (authorizer.get("jwt") or {}).get("claims"):
        return _bearer(claims)
    return Caller(_NOBODY)


def _principal(iam: Mapping[str, Any]) -> Caller:
    arn = str(iam.get("userArn"))
    # A role's session has a new name each time; the same program must find its own keys again.
    principal = arn.rsplit("/", 1)[0] if ":assumed-role/" in arn else arn
    # All identities of a Cognito pool may share one role.
    if identity_id := (iam.get("cognitoIdentity") or {}).get("identityId"):
        return Caller(f"cognito#{identity_id}", principal)
    return Caller(principal)


def _bearer(claims: Mapping[str, Any]) -> Caller:
    issuer, subject = claims.get("iss", ""), claims.get("sub", "")
    program = next((claims[name] for name in _PROGRAM if claims.get(name)), "")
    who = {name: value for name, value in (("iss", issuer), ("sub", subject), ("client", program)) if value}
    # Encoded, so that one claim cannot pass for two. Former names began with the issuer, so none begins like this.
    return Caller(f"token#{urlencode(who, errors='surrogatepass')}", f"{issuer}#{subject}")
