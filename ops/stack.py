"""Find the chosen stack in AWS, and what its commands act with: clients, the store, the finder, the operator.

Knows the stack's outputs and parameters. Must not know the command line or what is printed.
"""

from __future__ import annotations

import os
import shlex
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoRegionError
from botocore.parsers import ResponseParserError

from ops.exits import NotFound, Unanswered
from ops.finder import Finder
from ops.operator import Operator
from ops.vendor import Vendor
from shared.credits.counter import CreditCounter
from shared.executions import Executions
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.transitions import JobStore

ERRORS = (BotoCoreError, ClientError, Boto3Error, ResponseParserError)
"""What boto3 raises where AWS denies something, does not answer, or something else answers."""
_MINUTE = 60
_CREATING = threading.Lock()
"""A session may create clients in one thread at a time only; the clients may be used in all.

https://docs.aws.amazon.com/boto3/latest/guide/session.html#multithreading-or-multiprocessing-with-sessions
"""
_NOT_TAKEN = (
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidAccessKeyId",
)
_WRONGLY_SIGNED = ("SignatureDoesNotMatch", "InvalidSignatureException", "RequestTimeTooSkewed", "RequestExpired")
"""Codes of calls that were signed with a wrong secret key, or at a wrong time.

https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-troubleshooting.html
"""
_ENV_FILE = Path(os.environ.get("GENVIRAL_ENV_FILE") or Path(__file__).resolve().parents[1] / ".genviral-env")
"""What `up` writes while it runs."""


@dataclass(frozen=True)
class Stack:
    """A deployed stack, or the cloud on a laptop where `AWS_ENDPOINT_URL` says so.

    Raises:
        NotFound: There is no such stack, or it is none of this project.
    """

    name: str = "genviral-video"
    region: str | None = None
    profile: str | None = None

    def client(self, service: Any, **options: Any) -> Any:
        """Return a boto3 client."""
        try:
            with _CREATING:
                return self._session.client(service, config=Config(**options))
        except ValueError as error:
            if isinstance(error, BotoCoreError):
                raise
            raise Unanswered(f"{error}. AWS_ENDPOINT_URL must be an address, such as http://127.0.0.1:4566.") from None

    def output(self, name: str) -> str:
        """Return an output of the stack."""
        return self._named(self._described[0], name)

    def parameter(self, name: str) -> str:
        """Return a parameter of the stack."""
        return self._named(self._described[1], name)

    @cached_property
    def store(self) -> JobStore:
        """The jobs table."""
        days = int(self.parameter("RecordRetentionDays"))
        return JobStore(self._dynamodb, self.output("JobsTable"), retention_days=days)

    @cached_property
    def switch(self) -> IntakeSwitch:
        """The kill switch."""
        return IntakeSwitch(self._dynamodb, self.output("JobsTable"))

    @cached_property
    def credits(self) -> CreditCounter:
        """The day's credits, and the limit; 0 is no limit."""
        limit = float(self.parameter("DailyCreditLimit"))
        return CreditCounter(self._dynamodb, self.output("JobsTable"), limit)

    @cached_property
    def operator(self) -> Operator:
        """Whoever may change jobs."""
        return Operator(
            store=self.store,
            sfn=self.sfn,
            state_machine_arn=self.output("StateMachineArn"),
            deadline_seconds=int(self.parameter("JobDeadlineMinutes")) * _MINUTE,
            ask=self.vendor.video,
        )

    @cached_property
    def vendor(self) -> Vendor:
        """Genviral, as the stack reaches it."""
        return Vendor(
            secrets=self.client("secretsmanager"),
            secret=self.output("ApiKeySecretArn"),
            base_url=self.parameter("GenviralBaseUrl"),
            allow_http=self._described[1].get("AllowPrivateOutput") == "true",
        )

    @cached_property
    def finder(self) -> Finder:
        """Whoever finds jobs by what a person has of them."""
        return Finder(store=self.store, s3=self.s3, uploads=self.uploads, videos=self.videos)

    @property
    def uploads(self) -> str:
        """The uploads bucket."""
        return self.output("UploadsBucket")

    @property
    def videos(self) -> str:
        """The videos bucket."""
        return self.output("VideosBucket")

    @property
    def quiet_seconds(self) -> int:
        """The sweep skips jobs that changed more recently, in seconds."""
        return int(self.parameter("SweepQuietSeconds"))

    @cached_property
    def s3(self) -> Any:
        """A boto3 S3 client."""
        return self.client("s3")

    @property
    def s3_without_retries(self) -> Any:
        """A boto3 S3 client that repeats no call: whoever submits must know whether a call may have had an effect."""
        return self.client("s3", retries={"total_max_attempts": 1})

    @cached_property
    def executions(self) -> Executions:
        """The executions that run jobs."""
        return Executions(sfn=self.sfn, state_machine_arn=self.output("StateMachineArn"))

    @cached_property
    def sfn(self) -> Any:
        """A boto3 Step Functions client."""
        return self.client("stepfunctions")

    @cached_property
    def _dynamodb(self) -> Any:
        return self.client("dynamodb")

    @cached_property
    def _session(self) -> boto3.session.Session:
        # boto3 does not read AWS_REGION, which is what most other tools of AWS read.
        region = self.region or os.environ.get("AWS_REGION")
        return boto3.session.Session(region_name=region, profile_name=self.profile)

    @cached_property
    def _described(self) -> tuple[dict[str, str], dict[str, str]]:
        """The outputs and the parameters."""
        cloudformation = self.client("cloudformation")
        try:
            (stack,) = cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if "does not exist" not in error.response["Error"].get("Message", ""):
                raise
            region = cloudformation.meta.region_name
            raise NotFound(
                f"There is no stack {self.name} in {region}. Choose with --stack, --region and --profile."
            ) from None
        return (
            {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])},
            {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in stack.get("Parameters", [])},
        )

    def _named(self, values: dict[str, str], name: str) -> str:
        if name not in values:
            raise NotFound(f"The stack {self.name} is no stack of this project: it has no {name}.")
        return values[name]


def use_laptop() -> None:
    """Choose the cloud that `up` runs on this laptop, as a shell does that sources its settings.

    Raises:
        NotFound: None runs.
    """
    try:
        words = shlex.split(_ENV_FILE.read_text("utf-8"), comments=True)
    except OSError:
        raise NotFound("No cloud runs on this laptop. Start it with `up`, in another terminal.") from None
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)
    os.environ.update({name: value for name, equals, value in (word.partition("=") for word in words) if equals})


def explained(error: Exception) -> str:
    """Say what AWS's refusal or silence means, and what to do."""
    if isinstance(error, NoRegionError):
        laptop = " For the cloud on this laptop: . ./.genviral-env" if _ENV_FILE.exists() else ""
        return f"No region is known. Give --region, or set AWS_REGION.{laptop}"
    if not isinstance(error, ClientError):
        address = os.environ.get("AWS_ENDPOINT_URL", "")
        if isinstance(error, EndpointConnectionError) and urlsplit(address).hostname in ("127.0.0.1", "localhost"):
            return (
                f"The cloud on the laptop does not answer at {address}. Start it with `up` and source .genviral-env "
                "again, or unset AWS_ENDPOINT_URL to use AWS."
            )
        if isinstance(error, ResponseParserError):
            return (
                f"What answered is not AWS{f' (AWS_ENDPOINT_URL is {address})' if address else ''}. Is a proxy between?"
            )
        return f"AWS could not be asked: {error}"
    code = error.response["Error"].get("Code", "an unknown error")
    if code in _WRONGLY_SIGNED:
        return (
            f"AWS does not take this signature ({code}): the secret key is wrong, or the clock of this machine is. "
            "Correct the clock, sign in again, or choose other credentials with --profile."
        )
    if code in _NOT_TAKEN:
        return f"AWS does not take these credentials ({code}). Sign in again, or choose others with --profile."
    advice = "docs/operator-access.md has the policy that operators need." if "AccessDenied" in code else "Try again."
    return f"{error.operation_name} failed with {code}. It is safe to give the same command again. {advice}"
