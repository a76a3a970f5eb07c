"""Run the stand-in as a process of its own: `python -m local.genviral`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import stat
import sys
import threading

from local.genviral.server import GenviralStandIn


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m local.genviral", description="A stand-in for Genviral's Partner API."
    )
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free port")
    parser.add_argument("--json", action="store_true", help="print one JSON line when ready")
    parser.add_argument("--generation-seconds", type=float, default=6.0, metavar="S")
    parser.add_argument("--honour-idempotency", action="store_true", help="replay a repeated Idempotency-Key")
    options = parser.parse_args()

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        threading.Thread(target=_watch_parent, args=(ended,), daemon=True).start()
    try:
        standin = GenviralStandIn(
            options.port,
            generation_seconds=options.generation_seconds,
            honour_idempotency=options.honour_idempotency,
        )
    except (OSError, OverflowError) as error:
        parser.exit(1, f"The stand-in cannot listen on port {options.port}: {error}\n")
    with standin:
        _announce(standin, as_json=options.json)
        ended.wait()


def _watch_parent(ended: threading.Event) -> None:
    """Set `ended` when the parent has ended, which closes the pipe."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    ended.set()


def _announce(standin: GenviralStandIn, *, as_json: bool) -> None:
    facts = {"genviral_url": standin.url, "admin_url": standin.admin_url, "keys": standin.keys}
    if as_json:
        print(json.dumps(facts), flush=True)
        return
    print(f"Genviral stand-in  {standin.url}\ncontrols           {standin.admin_url}/state")
    for name, key in standin.keys.items():
        print(f"key, {name:<13} {key}")
    print("Stop with Ctrl-C.", flush=True)


if __name__ == "__main__":
    main()
