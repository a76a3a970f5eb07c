"""Stand in for Genviral's Partner API: a real HTTP server that keeps the vendor's contract, counts credits and renders
real videos. It is written from the vendor's documentation only and must not share code with `shared/`, so that each
checks the other.
"""

from local.genviral.server import GenviralStandIn

__all__ = ["GenviralStandIn"]
