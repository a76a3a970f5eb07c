"""Provide the command line of the cloud on a laptop: `python -m local up` and `python -m local demo`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from local import demo, terminal
from local.build import BuildFailed
from local.cloud import API_KEY, Cloud, CloudFailed, Endpoints
from local.deploy import DeploymentFailed

_ended = threading.Event()


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns the exit status: 2 if it could not start."""
    terminal.accept_all_text()
    chosen = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    try:
        return int(chosen.run(chosen))
    except KeyboardInterrupt:
        return 130
    except (CloudFailed, BuildFailed, DeploymentFailed) as error:
        print(terminal.visible(str(error)), file=sys.stderr)
        return 2
    except demo.DemoFailed as error:
        print(terminal.visible(str(error)), file=sys.stderr)
        return 1


def _end(*_: object) -> None:
    """Start the shutdown. A second signal must not disturb it.

    The event is needed because Python drops exceptions in some places, such as finalizers.
    """
    if not _ended.is_set():
        _ended.set()
        raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="The cloud on a laptop.")
    commands = parser.add_subparsers(required=True, metavar="command")
    up = commands.add_parser("up", help="deploy this project on this machine and serve it until Ctrl-C")
    up.set_defaults(run=_up)
    up.add_argument("--json", action="store_true", help="print only one line of JSON, when ready")
    up.add_argument("--port", type=port, default=0, help="port for AWS on 127.0.0.1 (default: a free one)")
    up.add_argument("--genviral-url", help="a Partner API endpoint instead of the stand-in; needs its API key")
    up.add_argument(
        "--api-key-file",
        type=_key,
        metavar="FILE",
        help=f"a file with the key for --genviral-url (default: ${API_KEY})",
    )
    up.add_argument("--api-key", type=_no_key, help=argparse.SUPPRESS)
    up.add_argument("--time-scale", type=number, default=1.0, help="factor for waits and backoff (default: 1)")
    up.add_argument("--generation-seconds", type=number, help="seconds that the stand-in takes for a video")
    up.add_argument(
        "--set", type=_assignment, action="append", default=[], metavar="Parameter=value", help="a template parameter"
    )
    show = commands.add_parser("demo", help="run the whole job on one picture and show every step")
    show.set_defaults(run=_demo)
    show.add_argument("--image", type=_file, default=demo.SAMPLE, help="the picture (default: a sample)")
    show.add_argument("--recipe", type=_file, help="the recipe (default: recipes/default.json)")
    show.add_argument("--prompt", help="a prompt instead of the recipe's own")
    show.add_argument("--out", type=_folder, default=Path("demo-out"), help="folder for the video (default: demo-out)")
    return parser


def _demo(chosen: argparse.Namespace) -> int:
    with Cloud(parameters=demo.PARAMETERS, generation_seconds=demo.GENERATION_SECONDS) as cloud:
        demo.run(cloud, image=chosen.image, recipe=chosen.recipe, prompt=chosen.prompt, out=chosen.out)
    return 0


def _up(chosen: argparse.Namespace) -> int:
    cloud = Cloud(
        port=chosen.port,
        time_scale=chosen.time_scale,
        parameters=dict(chosen.set),
        genviral_url=chosen.genviral_url,
        # The stand-in does not accept a key of the real vendor.
        api_key=chosen.api_key_file or (os.environ.get(API_KEY) if chosen.genviral_url else None),
        generation_seconds=chosen.generation_seconds,
    )
    with cloud, contextlib.suppress(KeyboardInterrupt):
        print(json.dumps(asdict(cloud.endpoints)) if chosen.json else _welcome(cloud.endpoints), flush=True)
        _ended.wait()
    return 0


def _welcome(at: Endpoints) -> str:
    # Tools differ in which of the two region variables they read.
    return f"""\
The cloud on your laptop is ready. Ctrl-C ends it and removes everything.

  AWS        {at.aws_endpoint}  ({at.region}, any credentials)
  HTTP API   {at.api_url}/videos
  Genviral   {at.genviral_url}{f"  (controls: {at.genviral_admin_url}/state)" if at.genviral_admin_url else ""}
  Jobs       {at.state_machine_arn}
  Topic      {at.topic_arn}

In another terminal:

  export AWS_ENDPOINT_URL={at.aws_endpoint} AWS_REGION={at.region} AWS_DEFAULT_REGION={at.region}
  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test API_URL={at.api_url}
  export UPLOADS_BUCKET={at.uploads_bucket} VIDEOS_BUCKET={at.videos_bucket}
  export TOPIC_ARN={at.topic_arn}

  # upload a recipe and a picture, then list the videos
  aws s3 cp recipes/default.json s3://{at.uploads_bucket}/recipes/shoes.json
  aws s3 cp shoe.jpg s3://{at.uploads_bucket}/uploads/shoes/shoe.jpg
  aws s3 ls --recursive s3://{at.videos_bucket}/videos/

  # or over HTTP
  curl -X POST {at.api_url}/videos -H 'content-type: application/json' \\
    -d '{{"model_id": "bytedance/seedance-2.0", "prompt": "A paper boat on a calm lake"}}'
  curl {at.api_url}/videos/JOB_ID
"""


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form Parameter=value")
    return name, value


def _key(text: str) -> str:
    try:
        key = Path(text).read_text("ascii").strip()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"'{text}' cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        key = ""
    if not key or len(key.split()) != 1:
        raise argparse.ArgumentTypeError(f"'{text}' must contain an API key and nothing else")
    return key


def _no_key(_: str) -> str:
    raise argparse.ArgumentTypeError(
        f"every program on this machine can read a command line. Set {API_KEY}, or use --api-key-file"
    )


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file '{text}'")
    return path


def _folder(text: str) -> Path:
    """Return a folder that exists or can be created."""
    path = Path(text)
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f"'{there}' is a file, not a folder")
    return path


def number(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' must be a number of at least 0")
    return value


def port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 65536:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port")
    return value


if __name__ == "__main__":
    sys.exit(main())
