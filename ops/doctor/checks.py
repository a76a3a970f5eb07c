"""List every check, and run them. A check that may not ask, or cannot, is neither right nor wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from ops.doctor import contents, course, wiring
from ops.doctor.deployment import RIGHTS, Deployment
from ops.doctor.findings import Finding, State, problem, unanswered, unknown
from ops.exits import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DENIED = ("AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException", "403")
_GONE = (
    "NoSuchBucket",
    "NotFound",
    "NotFoundException",
    "ResourceNotFoundException",
    "StateMachineDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
)
_LACKING = ("InvalidAction", "UnknownOperationException", "NotImplemented", "501")
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html
_RECREATE = (
    "A deployment does not notice that. Take the resource out of template.yaml, deploy, put it back, and deploy again."
)
# DynamoDB keeps one for 35 days, because the template turns point-in-time recovery on.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/PointInTimeRecovery.Tutorial.html
_RESTORE = (
    "Do not create an empty table: jobs could be paid for again. Restore its last backup under the same name, in "
    "DynamoDB's console."
)
_OF_TABLE = ("GetItem", "Query", "DescribeTable", "DescribeTimeToLive")


class Check(NamedTuple):
    """One question about a stack.

    Attributes:
        asks: What should hold.
        advice: What to do where it does not.
    """

    name: str
    asks: str
    advice: str
    look: Callable[[Deployment], Finding]


CHECKS = (
    Check(
        "stack",
        "the last deployment was completed",
        "`sam deploy` says why it was not. Correct the cause, and deploy again: docs/update.md.",
        wiring.stack,
    ),
    Check(
        "key",
        "the API key is stored, and Genviral accepts it (asked for the free list of models)",
        "Store a valid key: docs/operate.md#a-new-genviral-key.",
        contents.key,
    ),
    Check(
        "recipes",
        "every file in recipes/ is a valid recipe, and there is a default one",
        "Correct the file and upload it again: docs/uploads.md.",
        contents.recipes,
    ),
    Check("intake", "new jobs may start", "start-intake lets jobs start again.", contents.intake),
    Check(
        "subscriptions",
        "somebody is notified of jobs and of alarms, and every subscription is confirmed",
        "Open the link in AWS's e-mail; it is valid for two days. Or subscribe (again): docs/notifications.md.",
        contents.subscriptions,
    ),
    Check(
        "uploads",
        "the uploads bucket sends its events to EventBridge",
        "Turn Amazon EventBridge on in the bucket's properties. A deployment does not do it again.",
        wiring.uploads,
    ),
    Check(
        "rules",
        "the sweep's schedule and the rules for events are enabled and have a target",
        "Enable it (`aws events enable-rule`), or give it its target again as in template.yaml: no deployment does it.",
        wiring.rules,
    ),
    Check(
        "sweep",
        "the last sweep began at most 35 minutes ago",
        "Is its rule enabled (rules)? The log of SweepFunction says what failed.",
        course.sweep,
    ),
    Check("alarms", "no alarm is on", "docs/alarms.md says what each means and what to do.", course.alarms),
    Check(
        "queue",
        "no event is parked in EventsDlq",
        "Read it and process it: docs/alarms.md#a-parked-event.",
        course.queue,
    ),
    Check(
        "quotas",
        "Lambda may run as much at once as ReservedConcurrency and BatchConcurrency ask for",
        "Raise Lambda's quota of concurrent executions, or change the parameter: docs/limits.md#quotas.",
        wiring.quotas,
    ),
    Check(
        "code",
        "all functions run the code of the last deployment",
        "Somebody changed it by hand. A deployment undoes that if shared/ is new: every function gets that layer.",
        wiring.code,
    ),
    Check(
        "cors",
        "the API and the uploads bucket allow AllowedOrigins, and no other origin",
        "Undo in S3 or API Gateway what was changed by hand there. A deployment does it only for a new AllowedOrigins.",
        wiring.cors,
    ),
    Check("machines", "both state machines are active", _RECREATE, wiring.machines),
    Check(
        "table",
        "the jobs table is active, with its indexes and its expiry (TTL)",
        "Create the index again as in template.yaml, or turn TTL on for expires_at, in DynamoDB's console.",
        wiring.table,
    ),
    Check("jobs", "only information: how many jobs are open or wait for a person", "", contents.jobs),
)

FIELDS = {
    "name": "the check's name",
    "state": "`ok`, `warning`, `problem` or `unknown`",
    "message": "what was found",
    "advice": "what to do; not where all is well",
}
"""What the JSON document of a check may have, and what it says."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found, and what to do."""

    name: str
    state: State
    message: str
    advice: str
    is_unanswered: bool = False

    def document(self) -> dict[str, str]:
        """Return it with the fields of `FIELDS` that have a value."""
        values = {"name": self.name, "state": self.state.value, "message": self.message, "advice": self.advice}
        return {name: value for name, value in values.items() if value}


def examine(deployment: Deployment) -> Iterator[Result]:
    """Run every check, and yield what each found."""
    for check in CHECKS:
        found = _found(check, deployment)
        advice = "" if found.state is State.OK else found.advice or check.advice
        yield Result(check.name, found.state, found.message, advice, found.is_unanswered)


def _found(check: Check, deployment: Deployment) -> Finding:
    try:
        return check.look(deployment)
    except NotFound as error:
        return problem(str(error), _RECREATE)
    except ClientError as error:
        return _refused(error, is_on_laptop=deployment.is_on_laptop)
    except BotoCoreError as error:
        return unanswered(f"AWS could not be asked: {error}", "Run doctor again.")


def _refused(error: ClientError, *, is_on_laptop: bool) -> Finding:
    """Say what AWS's refusal means for a check."""
    operation, code = error.operation_name, error.response["Error"].get("Code", "an unknown code")
    if code in _DENIED:
        right = RIGHTS.get(operation, operation)
        return unanswered(f"these credentials lack the right {right}", "docs/operator-access.md#doctor has the policy.")
    if code in _GONE:
        said = error.response["Error"].get("Message", "")
        advice = _RESTORE if operation in _OF_TABLE else _RECREATE
        return problem(f"a part of the stack is not there any more ({operation}: {said or code})", advice)
    if is_on_laptop and code in _LACKING:
        return unknown(f"the cloud on a laptop has no {operation}", "On AWS, this is checked.")
    return unanswered(f"{operation} failed with {code}", "Run doctor again.")
