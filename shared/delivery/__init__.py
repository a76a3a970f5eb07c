"""From a link to an object in a bucket: guarded, bounded, verified, resumable.

    deliver(source, s3=…, bucket=…, key=…, limits=…, …) -> Delivery

    copy ── the plan: ranges, stream or one put
     ├── fetch ── what an answer means ── connection ── HTTP/1.1
     │     └── links, guard: which address is meant, and may it be fetched
     ├── store ── S3
     ├── media ── what kind of file is this, is it whole, what is in it ── movie, boxes, ebml
     └── limits, errors

Knows nothing of the vendor or of jobs. Imports neither boto3 (the client is passed in) nor anything beyond the standard
library but h11 and idna, which the vendor's client needs too: a cold start pays nothing for it.
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
