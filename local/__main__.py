"""Provide the commands of the cloud on a laptop: `python -m local up`, `demo` and `vendor`; `./genviral` has them, too.

What is slow to import is imported by the command that needs it, so that help and completion are quick.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shlex
import shutil
import signal
import sys
import threading
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from local import switches, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from local.cloud import Cloud, Endpoints

_API_KEY = "GENVIRAL_API_KEY"  # local.cloud.API_KEY, which is slow to import
_FAILED, _REFUSED, _COULD_NOT_START, _STOPPED, _UNREAD = 1, 3, 5, 130, 141  # the same as in ops.exits
_FEED_SECONDS = 0.5
_ended = threading.Event()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Return its exit code; docs/cli.md has the table."""
    terminal.accept_all_text()
    group = click.Group("local", commands={str(one.name): one for one in COMMANDS}, help="The cloud on a laptop.")
    try:
        code = int(group.main(arguments, prog_name="python -m local", standalone_mode=False) or 0)
        sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        return _STOPPED
    except click.ClickException as error:
        if isinstance(error, click.UsageError):
            error.show()
        else:
            print(terminal.visible(error.message), file=sys.stderr)
        return error.exit_code
    except SystemExit:  # click ends so where the reader has closed the output
        return _unwritten(BrokenPipeError())
    except OSError as error:
        return _unwritten(error)
    return code


def _unwritten(error: OSError) -> int:
    """Say what the operating system refused, if anybody reads it. Return the exit code."""
    what = terminal.visible(str(error.filename or "The output"))
    with contextlib.suppress(OSError):
        if not isinstance(error, BrokenPipeError):
            print(f"{what} cannot be read or written: {error.strerror or error}.", file=sys.stderr)
    if error.filename is None:
        # What is left to print is dropped, so that Python does not fail at it once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _UNREAD if isinstance(error, BrokenPipeError) else _REFUSED


def _end(*_: object) -> None:
    """Start the shutdown. A second signal must not disturb it.

    The event is needed because Python drops exceptions in some places, such as finalizers.
    """
    if not _ended.is_set():
        _ended.set()
        raise KeyboardInterrupt


class _Failed(click.ClickException):
    """A cloud could not be started, or no stand-in answers."""

    exit_code = _COULD_NOT_START


class _DemoFailed(click.ClickException):
    """The demo's job ended without a video."""

    exit_code = _FAILED


def _runs_a_cloud(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Let a command end in order at the first signal, and tell people why a cloud or a demo failed."""

    @functools.wraps(function)
    def run(**arguments: Any) -> int | None:
        from local.build import BuildFailed
        from local.cloud import CloudFailed, CloudMisused
        from local.demo import DemoFailed
        from local.deploy import DeploymentFailed

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end)
        try:
            return function(**arguments)
        except CloudMisused as error:
            raise click.UsageError(str(error)) from None
        except (CloudFailed, BuildFailed, DeploymentFailed) as error:
            raise _Failed(str(error)) from None
        except DemoFailed as error:
            raise _DemoFailed(str(error)) from None

    return run


def _assignments(_: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    for text in texts:
        name, equals, _value = text.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"'{text}' is not of the form Parameter=value", param=param)
    return dict(text.split("=", 1) for text in texts)


def _key(_: click.Context, param: click.Parameter, file: str | None) -> str | None:
    if file is None:
        return None
    try:
        key = Path(file).read_text("ascii").strip()
    except OSError as error:
        raise click.BadParameter(f"'{file}' cannot be read: {error.strerror}", param=param) from None
    except UnicodeDecodeError:
        key = ""
    if not key or len(key.split()) != 1:
        raise click.BadParameter(f"'{file}' must contain an API key and nothing else", param=param)
    return key


def _no_key(_: click.Context, param: click.Parameter, key: str | None) -> None:
    if key is not None:
        text = f"every program on this machine can read a command line. Set {_API_KEY}, or use --api-key-file"
        raise click.BadParameter(text, param=param)


def _number(_: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 <= value < float("inf"):
        raise click.BadParameter(f"'{value:g}' must be a number of at least 0", param=param)
    return value


def _port(_: click.Context, param: click.Parameter, value: int) -> int:
    if not 0 <= value < 65536:
        raise click.BadParameter(f"'{value}' is not a port", param=param)
    return value


def _folder(_: click.Context, param: click.Parameter, text: str) -> Path:
    """Return a folder that exists or can be created."""
    path = Path(text)
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise click.BadParameter(f"'{there}' is a file, not a folder", param=param)
    return path


def _examples(*lines: str) -> str:
    return "\n".join(["Examples:", "", "\b", *(f"  genviral {line}" for line in lines)])


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="answer with one JSON document")


@click.command("demo", epilog=_examples("demo", "demo --image shoe.jpg --prompt 'A red shoe on marble'"))
@click.option("--image", type=_FILE, help="the picture (default: a sample)")
@click.option("--recipe", type=_FILE, help="the recipe (default: recipes/default.json)")
@click.option("--prompt", help="a prompt instead of the recipe's own")
@click.option("--out", callback=_folder, default="demo-out", show_default=True, help="folder for the video")
@_json
@_runs_a_cloud
def demo(image: Path | None, recipe: Path | None, prompt: str | None, out: Path, as_json: bool) -> None:
    """Make a video of a picture on this machine, step by step."""
    from local import demo
    from local.cloud import Cloud

    with Cloud(parameters=demo.PARAMETERS, generation_seconds=demo.GENERATION_SECONDS) as cloud:
        chosen = image or demo.SAMPLE
        result = demo.run(cloud, image=chosen, recipe=recipe, prompt=prompt, out=out, quiet=as_json)
    if as_json:
        print(json.dumps(result))


@click.command("up", epilog=_examples("up", "up --port 4566 --set DailyCreditLimit=100", "up --time-scale 0.1"))
@click.option("--port", type=int, callback=_port, default=0, help="port for AWS on 127.0.0.1 (default: a free one)")
@click.option("--genviral-url", help="a Partner API endpoint instead of the stand-in; needs its API key")
@click.option(
    "--api-key-file", "api_key", metavar="FILE", callback=_key, help=f"a file with its key (default: ${_API_KEY})"
)
@click.option("--api-key", "no_key", callback=_no_key, hidden=True, expose_value=False)
@click.option("--time-scale", type=float, callback=_number, default=1.0, show_default=True, help="factor for waits")
@click.option("--generation-seconds", type=float, callback=_number, help="seconds that the stand-in takes for a video")
@click.option(
    "--set", "parameters", metavar="PARAMETER=VALUE", multiple=True, callback=_assignments, help="a template parameter"
)
@click.option("--open", "opens", is_flag=True, help="open the console in the browser")
@click.option("--json", "as_json", is_flag=True, help="print only one line of JSON, when ready, and start no console")
@_runs_a_cloud
def up(
    port: int,
    genviral_url: str | None,
    api_key: str | None,
    time_scale: float,
    generation_seconds: float | None,
    parameters: dict[str, str],
    opens: bool,
    as_json: bool,
) -> None:
    """Run the cloud on this laptop, and tell what happens in it.

    It prints the address of its console, a page for the browser. Ctrl-C ends it and removes everything.
    """
    from local.cloud import Cloud
    from local.console import console

    if opens and as_json:
        raise click.UsageError("--open does not go with --json, which starts no console.")
    cloud = Cloud(
        port=port,
        time_scale=time_scale,
        parameters=parameters,
        genviral_url=genviral_url,
        # The stand-in does not accept a key of the real vendor.
        api_key=api_key or (os.environ.get(_API_KEY) if genviral_url else None),
        generation_seconds=generation_seconds,
    )
    with cloud, contextlib.suppress(KeyboardInterrupt):
        if as_json:
            print(json.dumps(asdict(cloud.endpoints)), flush=True)
            _ended.wait()
            return
        variables = _variables(cloud.endpoints, time_scale)
        with _settings(variables), console(variables) as (address, reason):
            print(_welcome(cloud.endpoints, time_scale, address or f"could not be started: {reason}"), flush=True)
            if opens and address:
                webbrowser.open(address)
            _tell(cloud)
    if not as_json:
        print("\nThe cloud on your laptop has ended; everything in it is removed. Goodbye.", flush=True)


@click.command("vendor", epilog=_examples("vendor", "vendor no-credits", "vendor normal"))
@click.argument("switch", required=False, type=click.Choice(list(switches.SWITCHES)), metavar="[SWITCH]")
@_json
def vendor(switch: str | None, as_json: bool) -> None:
    """Switch the stand-in for Genviral while `up` runs.

    Without SWITCH: say how it stands.
    """
    try:
        state = switches.turn(switch)
    except switches.NoStandIn as error:
        raise _Failed(str(error)) from None
    if as_json:
        print(json.dumps({"switch": switch, "state": state}))
        return
    print(switches.in_words(state))
    if switch is not None:
        return
    for name, (text, _) in switches.SWITCHES.items():
        print(f"  {name:<13} {text}")


COMMANDS = (demo, up, vendor)


@contextlib.contextmanager
def _settings(variables: dict[str, str]) -> Any:
    """Keep a file that a shell can source, while the cloud runs."""
    written = switches.write_settings(variables)
    try:
        yield
    finally:
        # Another `up` may have written its own meanwhile.
        if switches.ENV_FILE.exists() and switches.ENV_FILE.read_text("utf-8") == written:
            switches.ENV_FILE.unlink()


def _variables(at: Endpoints, time_scale: float) -> dict[str, str]:
    # Tools differ in which of the two region variables they read.
    return {
        "AWS_ENDPOINT_URL": at.aws_endpoint,
        "AWS_REGION": at.region,
        "AWS_DEFAULT_REGION": at.region,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "API_URL": at.api_url,
        "UPLOADS_BUCKET": at.uploads_bucket,
        "VIDEOS_BUCKET": at.videos_bucket,
        "TOPIC_ARN": at.topic_arn,
        "GENVIRAL_TIME_SCALE": f"{time_scale:g}",
        **({"GENVIRAL_ADMIN_URL": at.genviral_admin_url} if at.genviral_admin_url else {}),
    }


def _tell(cloud: Cloud) -> None:
    """Tell what happens, until the end; where no person reads it, only wait."""
    if not sys.stdout.isatty():
        _ended.wait()
        return
    from botocore.exceptions import BotoCoreError, ClientError

    from local.feed import Feed

    feed = Feed(cloud)
    while not _ended.wait(_FEED_SECONDS):
        # On a busy machine the stand-in may answer too late; the next look tells what this one missed.
        with contextlib.suppress(BotoCoreError, ClientError):
            for line in feed.news():
                print(line, flush=True)


def _welcome(at: Endpoints, time_scale: float, console: str) -> str:
    from local.build import ROOT

    called = os.environ.get("GENVIRAL_PROGRAM", str(ROOT / "genviral"))
    program = Path(called).name if shutil.which(Path(called).name) == called else shlex.quote(called)
    sample = shlex.quote(os.path.relpath(ROOT / "samples" / "product.jpg"))
    source = shlex.quote(os.path.relpath(switches.ENV_FILE))
    source = source if "/" in source else f"./{source}"
    usual = "as long as on AWS (--time-scale changes that)"
    pace = usual if time_scale == 1 else f"{time_scale:g} times as long as on AWS"
    controls = f"  (controls: {at.genviral_admin_url}/state)" if at.genviral_admin_url else ""
    lines = ""
    if at.genviral_admin_url:
        width = max(map(len, switches.SWITCHES))
        all_of_them = (f"  {program} vendor {one:<{width}}  # {text}\n" for one, (text, _) in switches.SWITCHES.items())
        lines = f"\n  # what happens when Genviral fails\n{''.join(all_of_them)}"
    return f"""\
The cloud on your laptop is ready. Ctrl-C ends it and removes everything.

  Console    {console}
  AWS        {at.aws_endpoint}  ({at.region}, any credentials)
  HTTP API   {at.api_url}/videos
  Genviral   {at.genviral_url}{controls}
  Jobs       {at.state_machine_arn}
  Topic      {at.topic_arn}
  Time       waits take {pace}

In another terminal, in this folder:

  . {source}

  # a picture, and a prompt; each prints the path of its video
  {program} submit {sample} --wait
  {program} submit --prompt 'A paper boat on a calm lake' --wait
  {program} list
{lines}"""


if __name__ == "__main__":
    sys.exit(main())
