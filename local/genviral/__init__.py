"""A stand-in for Genviral's Partner API: a real HTTP server that keeps the vendor's contract, counts credits and makes
real films. Written from the vendor's documentation alone; it shares no code with `shared/`: each checks the other.
"""

from local.genviral.server import GenviralStandIn

__all__ = ["GenviralStandIn"]
