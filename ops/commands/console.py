"""Add the command that serves a page for people: `console`."""

from __future__ import annotations

import os
import socket
import sys
import webbrowser

import click

from ops.cli import Desk, command, version
from ops.exits import Refused
from ops.output import say
from shared.printable import json_text


@command("console", "console", "console laptop --open", "console --stack my-stack --port 8080")
@click.argument("where", required=False, type=click.Choice(["laptop"]), metavar="[laptop]")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="port on 127.0.0.1 (default: a free one)")
@click.option("--open", "opens", is_flag=True, help="open it in the browser")
@click.option("--with-parent", is_flag=True, hidden=True, help="end when the standard input closes")
def console(desk: Desk, where: str | None, port: int, opens: bool, with_parent: bool) -> None:
    """Serve a page that shows jobs and lets a person act.

    With `laptop`: for the cloud that `up` runs in this folder; the settings need not be sourced.

    It is served until Ctrl-C, on this machine only, to whoever opens the address that it prints. It deploys nothing,
    and has the rights of these credentials.
    """
    from ops.console.access import Access
    from ops.console.server import Console, run

    if where == "laptop":
        from ops.stack import use_laptop

        use_laptop()
    served = Console(desk.stack, version())
    with _listening(port) as listening:
        access = Access(listening.getsockname()[1])
        app = served.app(access)
        if desk.as_json:
            print(json_text({"console": access.address}))  # one line, as that of `up`
        else:
            say(f"The console of {desk.stack.name}: {access.address}", "Ctrl-C ends it.")
        sys.stdout.flush()  # whoever started it waits for the address
        if opens:
            webbrowser.open(access.address)
        run(served, app, listening, with_parent=with_parent)


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise Refused(
            f"Nothing can listen on port {port} of 127.0.0.1: {os.strerror(error.errno or 0)}. "
            "Choose another with --port."
        ) from None


COMMANDS = (console,)
