"""List every error that Step Functions and Lambda document for a task, and how the state machines handle it.

The documentation's table is generated from this list. Tests compare it with the state machines and with AWS's sources:
the service model of `Invoke`, the Python runtime's names, the names of the States Language. Errors of this project and
of the vendor are in `shared`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

STEP_FUNCTIONS = "https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html"
BEST_PRACTICE = (
    "https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception"
)
LANGUAGE = "https://states-language.net/spec.html#appendix-a"
INVOKE = "https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html"
COMMON = "https://docs.aws.amazon.com/lambda/latest/api/CommonErrors.html"
INVOCATION = "https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html"
EMULATOR = (
    "https://github.com/aws/aws-lambda-runtime-interface-emulator/blob/develop/internal/lambda/fatalerror/fatalerror.go"
)
PYTHON = "https://github.com/aws/aws-lambda-python-runtime-interface-client/blob/main/awslambdaric/lambda_runtime_exception.py"


class Handling(Enum):
    """How the state machines handle an error: what happened, and what a person does if it persists."""

    THROTTLED = (
        "Too many calls at once. The function did not run.",
        "Raise the concurrency or run fewer jobs at a time, then redrive the execution.",
    )
    PASSING = (
        "The function could not be called, or did not finish. This is usually temporary.",
        "Fix what the cause names (a key, a quota, a change that hangs), then redrive the execution.",
    )
    MEMORY = (
        "The function ran out of memory. A new environment may suffice.",
        "Deploy it with more memory, then redrive the execution.",
    )
    DEPLOYMENT = (
        "The call, the function or a permission is wrong. A retry does not help.",
        "Deploy a corrected version, then redrive the execution.",
    )
    FINAL = (
        "A state's data is too large, or not of the form that the definition expects. No Retry or Catch applies.",
        "Please report it. Deploy a corrected version, then redrive the execution.",
    )
    LIST = ("The list of a batch's rows could not be read.", "Upload the file again: only rows without a job are paid.")
    ABSENT = ("It needs a feature that this project does not use.", "")
    WILDCARD = ("A wildcard in a Retry or a Catch.", "")

    def __init__(self, what: str, advice: str) -> None:
        self.what = what
        self.advice = advice


@dataclass(frozen=True, slots=True)
class PlatformError:
    """An error of the platform.

    Attributes:
        name: The name in Step Functions and in `ErrorEquals`.
        handling: How the state machines handle it.
        source: The page that documents it.
        needs: The unused feature that it needs, if it cannot occur.
    """

    name: str
    handling: Handling
    source: str
    needs: str = ""


def _listed(handling: Handling, source: str, names: str, *, prefix: str = "", needs: str = "") -> list[PlatformError]:
    return [PlatformError(f"{prefix}{name}", handling, source, needs) for name in names.split()]


_VPC, _FILES, _SNAPSTART = "a function in a VPC", "a function with a file system", "a function with SnapStart"

_REFUSED_BY_LAMBDA = (
    *_listed(Handling.THROTTLED, INVOKE, "TooManyRequestsException ServiceQuotaExceededException", prefix="Lambda."),
    *_listed(Handling.THROTTLED, COMMON, "ThrottlingException", prefix="Lambda."),
    *_listed(
        Handling.PASSING,
        INVOKE,
        """
        ServiceException ResourceConflictException ResourceNotReadyException
        CodeArtifactUserPendingException CodeArtifactUserDeletedException
        KMSAccessDeniedException KMSDisabledException KMSInvalidStateException KMSNotFoundException
        """,
        prefix="Lambda.",
    ),
    *_listed(
        Handling.PASSING,
        COMMON,
        "InternalFailure ServiceUnavailable RequestTimeoutException RequestAbortedException",
        prefix="Lambda.",
    ),
    *_listed(
        Handling.DEPLOYMENT,
        INVOKE,
        """
        ResourceNotFoundException InvalidParameterValueException InvalidRequestContentException
        RequestTooLargeException SerializedRequestEntityTooLargeException UnsupportedMediaTypeException
        InvalidRuntimeException InvalidZipFileException CodeArtifactUserFailedException
        NoPublishedVersionException RecursiveInvocationException
        """,
        prefix="Lambda.",
    ),
    *_listed(
        Handling.DEPLOYMENT,
        COMMON,
        """
        AccessDeniedException ExpiredTokenException IncompleteSignature MalformedHttpRequestException NotAuthorized
        OptInRequired RequestEntityTooLargeException RequestExpired UnknownOperationException
        UnrecognizedClientException ValidationError
        """,
        prefix="Lambda.",
    ),
    *_listed(
        Handling.ABSENT,
        INVOKE,
        """
        EC2AccessDeniedException EC2ThrottledException EC2UnexpectedException ENILimitReachedException
        ENINotReadyException InvalidSecurityGroupIDException InvalidSubnetIDException
        SubnetIPAddressLimitReachedException
        """,
        prefix="Lambda.",
        needs=_VPC,
    ),
    *_listed(
        Handling.ABSENT,
        INVOKE,
        """
        EFSIOException EFSMountConnectivityException EFSMountFailureException EFSMountTimeoutException
        S3FilesMountConnectivityException S3FilesMountFailureException S3FilesMountTimeoutException
        """,
        prefix="Lambda.",
        needs=_FILES,
    ),
    *_listed(
        Handling.ABSENT,
        INVOKE,
        """
        SnapStartException SnapStartNotReadyException SnapStartTimeoutException SnapStartRegenerationFailureException
        """,
        prefix="Lambda.",
        needs=_SNAPSTART,
    ),
    *_listed(
        Handling.ABSENT,
        INVOKE,
        "DurableExecutionAlreadyStartedException ModeNotSupportedException",
        prefix="Lambda.",
        needs="a durable function",
    ),
)
_NO_ANSWER = (
    # Lambda.Unknown also covers errors without a name.
    *_listed(
        Handling.PASSING,
        BEST_PRACTICE,
        "ClientExecutionTimeoutException AWSLambdaException SdkClientException Unknown",
        prefix="Lambda.",
    ),
)
_FUNCTION_FAILED = (
    PlatformError("Sandbox.Timedout", Handling.PASSING, INVOCATION),
    *_listed(Handling.PASSING, EMULATOR, "Sandbox.Failure Sandbox.Timeout Runtime.ExitError"),
    PlatformError("Runtime.OutOfMemory", Handling.MEMORY, BEST_PRACTICE),
    PlatformError("Runtime.InvalidEntrypoint", Handling.DEPLOYMENT, INVOCATION),
    *_listed(
        Handling.DEPLOYMENT,
        EMULATOR,
        "Runtime.InvalidWorkingDir Runtime.InvalidTaskConfig Runtime.Unknown Function.Unknown",
    ),
    PlatformError("Function.ResponseSizeTooLarge", Handling.DEPLOYMENT, EMULATOR),
    *_listed(
        Handling.DEPLOYMENT,
        PYTHON,
        """
        HandlerNotFound ImportModuleError BuiltInModuleConflict MalformedHandlerName UserCodeSyntaxError
        MarshalError UnmarshalError LambdaContextUnmarshalError LambdaRuntimeClientError
        """,
        prefix="Runtime.",
    ),
    *_listed(Handling.ABSENT, PYTHON, "BeforeSnapshotError AfterRestoreError", prefix="Runtime.", needs=_SNAPSTART),
    *_listed(
        Handling.ABSENT,
        EMULATOR,
        "TruncatedResponse InvalidResponseModeHeader",
        prefix="Runtime.",
        needs="a response that is streamed",
    ),
    *_listed(
        Handling.ABSENT, EMULATOR, "InitError ExitError Crash LaunchError", prefix="Extension.", needs="an extension"
    ),
)
_STATES = (
    PlatformError("States.Timeout", Handling.PASSING, STEP_FUNCTIONS),
    PlatformError("States.Permissions", Handling.DEPLOYMENT, STEP_FUNCTIONS),
    *_listed(Handling.DEPLOYMENT, LANGUAGE, "States.ResultPathMatchFailure States.ParameterPathFailure"),
    *_listed(Handling.FINAL, STEP_FUNCTIONS, "States.DataLimitExceeded States.Runtime"),
    PlatformError("States.ItemReaderFailed", Handling.LIST, STEP_FUNCTIONS),
    *_listed(Handling.WILDCARD, STEP_FUNCTIONS, "States.ALL States.TaskFailed"),
    PlatformError("States.HeartbeatTimeout", Handling.ABSENT, STEP_FUNCTIONS, "a state with `HeartbeatSeconds`"),
    PlatformError("States.Http.Socket", Handling.ABSENT, STEP_FUNCTIONS, "an HTTP task"),
    PlatformError("States.ResultWriterFailed", Handling.ABSENT, STEP_FUNCTIONS, "a map with a `ResultWriter`"),
    PlatformError(
        "States.ExceedToleratedFailureThreshold", Handling.ABSENT, STEP_FUNCTIONS, "a map that a row's failure can fail"
    ),
    PlatformError("States.BranchFailed", Handling.ABSENT, LANGUAGE, "a Parallel state"),
    PlatformError("States.NoChoiceMatched", Handling.ABSENT, LANGUAGE, "a Choice state without a `Default`"),
    PlatformError("States.IntrinsicFailure", Handling.ABSENT, LANGUAGE, "an intrinsic function"),
    PlatformError("States.QueryEvaluationError", Handling.ABSENT, STEP_FUNCTIONS, "a state machine in JSONata"),
)

ERRORS: tuple[PlatformError, ...] = (*_REFUSED_BY_LAMBDA, *_NO_ANSWER, *_FUNCTION_FAILED, *_STATES)
"""All errors. Each occurs once."""


def named(handling: Handling) -> list[str]:
    """Return the errors of one kind, in the order of the list."""
    return [error.name for error in ERRORS if error.handling is handling]
