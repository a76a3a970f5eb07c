"""Copy a video from its link to an object in a bucket: guarded, bounded, verified, resumable.

    deliver(source, s3=…, bucket=…, key=…, limits=…, …) -> Delivery

    copy ── the plan: ranges, stream or one put
     ├── fetch ── reads responses ── connection ── HTTP/1.1
     │     └── links, guard: normalize a link, decide whether it may be fetched
     ├── store ── S3
     ├── media ── the file's kind, completeness and content ── movie, boxes, ebml
     └── limits, errors

Must not know the vendor or jobs. Beyond the standard library it imports only h11 and idna, which the vendor's client
needs, too, so it adds nothing to a cold start. The caller passes the boto3 client.
"""

from shared.delivery.copy import deliver
from shared.delivery.errors import (
    ERRORS,
    DeliveryIncomplete,
    OutputExpired,
    OutputInvalid,
    OutputRefused,
    OutputTooLarge,
    OutputUnreachable,
)
from shared.delivery.limits import Limits
from shared.delivery.media import MediaFacts
from shared.delivery.store import Delivery

__all__ = [
    "ERRORS",
    "Delivery",
    "DeliveryIncomplete",
    "Limits",
    "MediaFacts",
    "OutputExpired",
    "OutputInvalid",
    "OutputRefused",
    "OutputTooLarge",
    "OutputUnreachable",
    "deliver",
]
