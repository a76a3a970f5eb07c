"""Test how the API creates jobs: requests refused before the 202, and repeated requests."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from shared.api.callers import Caller, caller_of
from shared.api.errors import HTTP_STATUS
from shared.genviral.errors import InvalidJson, InvalidPayload
from shared.jobs import identity
from shared.jobs.errors import BodyTooLarge, JobConflict, JobNotFound, KeyUnusable
from shared.jobs.states import Status
from tests.support.fakes import BODY, JOB_ID, PROMPT, TABLE, VIDEOS, Flaky, World

if TYPE_CHECKING:
    from shared.faults import Fault
    from shared.jobs.record import Job

ME = "arn:aws:iam::1:user/me"
WHO: dict[str, Any] = {"caller": Caller(ME), "key": "order-1"}


def ask(world: World, body: object = BODY, sfn: Any = None, **who: Any) -> Any:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return world.create_job(text, sfn=sfn, **{**WHO, **who})


def test_a_request_becomes_a_record_and_an_execution_without_its_content(world: World) -> None:
    job = ask(world, {**BODY, "metadata": {"order": "4711"}})
    assert (job.status, job.metadata, job.model_id) == (Status.QUEUED, {"order": "4711"}, BODY["model_id"])
    assert json.loads(world.record(job.job_id).request or "") == BODY
    (execution,) = world.sfn.list_executions(stateMachineArn=world.machine)["executions"]
    assert execution["name"] == job.job_id
    given = world.sfn.describe_execution(executionArn=execution["executionArn"])["input"]
    assert json.loads(given)["job_id"] == job.job_id
    assert not [word for word in (PROMPT, "X-Amz", "4711") if word in given]


@pytest.mark.parametrize("rewritten", [BODY, dict(reversed(BODY.items()))])
def test_a_repeat_is_the_same_job_with_one_execution(world: World, rewritten: dict[str, Any]) -> None:
    first = ask(world)
    assert ask(world, rewritten).job_id == first.job_id
    assert world.executions() == [first.job_id]


def test_a_repeat_of_a_job_that_has_gone_on_starts_nothing(world: World) -> None:
    first = ask(world)
    world.store.transition(first.job_id, Status.FAILED)
    sfn = Flaky(world.sfn)
    assert ask(world, sfn=sfn).status is Status.FAILED
    assert not sfn.calls


@pytest.mark.parametrize("key", ["k-1", None])
def test_a_failed_start_is_left_to_the_sweep_without_asking_for_a_retry(world: World, key: str | None) -> None:
    job = ask(world, sfn=Flaky(world.sfn, {1: "before"}, only="start_execution"), key=key)
    assert not world.executions()
    assert world.record(job.job_id).status == "queued"


def test_a_start_that_failed_is_made_up_by_the_repeat(world: World) -> None:
    ask(world, sfn=Flaky(world.sfn, {1: "before"}, only="start_execution"))
    job = ask(world)
    assert world.executions() == [job.job_id]


def test_a_start_whose_answer_was_lost_starts_nothing_twice(world: World) -> None:
    ask(world, sfn=Flaky(world.sfn, {1: "after"}, only="start_execution"))
    job = ask(world)
    assert world.executions() == [job.job_id]


def test_a_repeat_after_the_execution_has_ended_starts_no_other(world: World) -> None:
    """Step Functions keeps a name for 90 days and then answers with an error, which means success here."""
    job = ask(world)
    (execution,) = world.sfn.list_executions(stateMachineArn=world.machine)["executions"]
    # An input of its own makes moto answer as Step Functions does about an execution that has ended.
    world.dynamodb.update_item(
        TableName="jobs",
        Key={"job_id": {"S": job.job_id}},
        UpdateExpression="SET #s = :s",
        ExpressionAttributeNames={"#s": "source"},
        ExpressionAttributeValues={":s": {"M": {"type": {"S": "other"}}}},
    )
    assert ask(world).job_id == job.job_id
    assert world.sfn.list_executions(stateMachineArn=world.machine)["executions"] == [execution]


def test_another_request_under_the_same_key_is_a_conflict(world: World) -> None:
    first = ask(world)
    for other in ({**BODY, "prompt": "another"}, {**BODY, "metadata": {"a": 1}}):
        with pytest.raises(JobConflict):
            ask(world, other)
    assert world.executions() == [first.job_id]


@pytest.mark.parametrize(
    ("quoted", "plain"),
    [
        ('"k"', "k"),
        ('"8e03-d2"', "8e03-d2"),
        ('"a \\"b\\" \\\\"', 'a "b" \\'),
        ('"k', '"k'),
        ('"', '"'),
        ('"a"b"', '"a"b"'),
        ('"a,b"', '"a,b"'),
        # Sent in several headers, which come as one.
        ("k,k", "k"),
        ("k, k ,k", "k"),
        ('"k","k"', "k"),
        ('k,"k"', "k"),
        ("k,", "k"),
        ('"a,b", "a,b"', '"a,b"'),
        ("k" * 255 + "," + "k" * 255, "k" * 255),
    ],
)
def test_a_key_in_quotes_or_sent_twice_is_the_key_itself(world: World, quoted: str, plain: str) -> None:
    assert ask(world, key=quoted).job_id == ask(world, key=plain).job_id
    assert len(world.executions()) == 1


def of_an_earlier_release(world: World, job: Job, *, job_id: str | None = None) -> None:
    """Give a job the record of an earlier release, or copy it so to another id."""
    item = world.dynamodb.get_item(TableName=TABLE, Key={"job_id": {"S": job.job_id}})["Item"]
    source = {name: value for name, value in item["source"]["M"].items() if name != "scope"}
    item |= {"job_id": {"S": job_id or job.job_id}, "source": {"M": source}}
    world.dynamodb.put_item(TableName=TABLE, Item=item)


@pytest.mark.parametrize("key", ['"k"', "k,k", "k, k", '"k","k"', "order,k", ",k"])
def test_a_job_from_a_release_that_kept_quotes_is_not_paid_again(world: World, key: str) -> None:
    first = ask(world, key="k")
    old = identity.for_idempotency_key(ME, key)
    of_an_earlier_release(world, first, job_id=old)
    assert ask(world, key=key).job_id == old
    assert ask(world, key="k").job_id == first.job_id


ROLE = "arn:aws:sts::1:assumed-role/app"
ISSUER = "https://issuer.example"


def iam(**facts: Any) -> Caller:
    return caller_of({"requestContext": {"authorizer": {"iam": {"cognitoIdentity": None, **facts}}}})


def token(**claims: str) -> Caller:
    return caller_of({"requestContext": {"authorizer": {"jwt": {"claims": {"iss": ISSUER, **claims}}}}})


def of_pool(identity_id: str, role: str = "app") -> Caller:
    return iam(userArn=f"arn:aws:sts::1:assumed-role/{role}/session", cognitoIdentity={"identityId": identity_id})


SAME = [
    (iam(userArn=f"{ROLE}/ci-1"), iam(userArn=f"{ROLE}/ci-2")),
    (of_pool("eu-west-1:a"), of_pool("eu-west-1:a", role="other")),
    (token(sub="a", client_id="x", jti="1"), token(sub="a", client_id="x", jti="2")),
]
DIFFERENT = [
    iam(userArn=f"{ROLE}/ci"),
    iam(userArn="arn:aws:sts::1:assumed-role/other/ci"),
    iam(userArn="arn:aws:sts::2:assumed-role/app/ci"),
    iam(userArn="arn:aws:iam::1:user/app"),
    iam(userArn="arn:aws:iam::1:user/team/app"),
    iam(userArn="arn:aws:sts::1:federated-user/a"),
    iam(userArn="arn:aws:sts::1:federated-user/b"),
    of_pool("eu-west-1:a"),
    of_pool("eu-west-1:b"),
    token(sub="a"),
    token(sub="b"),
    token(client_id="a"),
    token(client_id="b"),
    token(sub="a", client_id="b"),
    token(sub="a", client_id="c"),
    token(sub="a&client=b"),
    token(sub="client=a"),
    token(azp="z"),
    token(),
    caller_of({"requestContext": {}}),
    caller_of({"requestContext": {"authorizer": None}}),
]


def test_a_key_belongs_to_the_principal_that_api_gateway_names() -> None:
    assert len({caller.name for caller in DIFFERENT}) == len(DIFFERENT) - 1  # the last two are both anonymous
    assert [one.name for one, _ in SAME] == [other.name for _, other in SAME]


@pytest.mark.parametrize(
    ("caller", "former"),
    [
        (of_pool("eu-west-1:a"), ROLE),
        (token(sub="a"), f"{ISSUER}#a"),
        (token(sub="a", client_id="x"), f"{ISSUER}#a"),
        (token(client_id="x"), f"{ISSUER}#"),
    ],
)
@pytest.mark.parametrize("key", ["k", '"k"', "k,k"])
def test_a_job_from_a_release_with_other_caller_names_is_not_paid_again(
    world: World, caller: Caller, former: str, key: str
) -> None:
    first = ask(world, caller=Caller(former), key=key)
    of_an_earlier_release(world, first)
    assert ask(world, caller=caller, key=key).job_id == first.job_id
    with pytest.raises(JobConflict):
        ask(world, {**BODY, "prompt": "another"}, caller=caller, key=key)
    assert world.executions() == [first.job_id]
    other = ask(world, caller=caller, key="another")
    assert (other.job_id, other.source["caller"]) == (
        identity.for_idempotency_key(caller.name, "another"),
        caller.name,
    )


FORMER_NAMESAKES = {
    "a role": iam(userArn=f"{ROLE}/ci"),
    "another identity of its pool": of_pool("eu-west-1:b"),
    "a token without claims": token(),
    "a token of another program": token(sub="a", client_id="y"),
    "a token whose claim reads like a name": token(sub="sub=a&client=x", client_id="z"),
    "a token whose claim reads like an older name": token(sub=f"{ISSUER}#a"),
}


@pytest.mark.parametrize("other", FORMER_NAMESAKES)
@pytest.mark.parametrize("caller", [of_pool("eu-west-1:a"), token(client_id="x"), token(sub="a", client_id="x")])
@pytest.mark.parametrize("key", ["k", '"k"', "k,k"])
def test_callers_who_once_shared_a_name_have_separate_jobs(world: World, caller: Caller, other: str, key: str) -> None:
    theirs = ask(world, {**BODY, "prompt": "theirs"}, caller=FORMER_NAMESAKES[other], key=key)
    mine = ask(world, caller=caller, key=key)
    assert ask(world, caller=caller, key=key).job_id == mine.job_id
    again = ask(world, {**BODY, "prompt": "theirs"}, caller=FORMER_NAMESAKES[other], key=key)
    assert again.job_id == theirs.job_id != mine.job_id
    assert sorted(world.executions()) == sorted([theirs.job_id, mine.job_id])


def test_no_claim_equals_an_earlier_releases_name_of_another_caller(world: World) -> None:
    """Covers a job that such a caller had before: nobody finds it under a current name."""
    alice = token(sub="a", client_id="x")
    for claim in ("sub=a&client=x", f"iss={ISSUER}&sub=a&client=x", ""):
        old = ask(world, {**BODY, "prompt": claim or "none"}, caller=Caller(f"{ISSUER}#{claim}"), key="k" + claim)
        of_an_earlier_release(world, old)
        assert ask(world, caller=alice, key="k" + claim).job_id != old.job_id


def test_metadata_that_is_null_is_not_given(world: World) -> None:
    first = ask(world, {**BODY, "metadata": None})
    assert ask(world, BODY).job_id == first.job_id
    assert first.metadata == {}


CONTROLS = ["m\x1b]0;title\x07", "m\n", "m\x00", "m\x85", "\u202em", "m\u200b", "\ufeffm", "m\u2029"]


@pytest.mark.parametrize("path", ["model_id", "voice_id", "params.resolution", "params.aspect_ratio"])
@pytest.mark.parametrize("word", CONTROLS)
def test_a_word_that_could_steer_a_terminal_is_refused(world: World, path: str, word: str) -> None:
    outer, _, inner = path.partition(".")
    with pytest.raises(InvalidPayload) as refused:
        ask(world, {"model_id": "m", outer: {inner: word} if inner else word})
    assert [issue["path"] for issue in refused.value.issues] == [path]


@pytest.mark.parametrize("word", [*CONTROLS, "\xadm", "m\u061c", "m\ufff9", "m\U000e0041"])
def test_a_label_whose_name_could_steer_a_terminal_is_refused(world: World, word: str) -> None:
    with pytest.raises(InvalidPayload) as refused:
        ask(world, {**BODY, "metadata": {word: "x"}})
    assert [issue["path"] for issue in refused.value.issues] == ["metadata"]


@pytest.mark.parametrize("field", ["prompt", "speech_text", "negative_prompt"])
def test_a_text_may_have_lines_and_joiners_but_no_other_controls(world: World, field: str) -> None:
    for control in "\x00\x07\x0b\x1b\x7f\x85\x9b":
        with pytest.raises(InvalidPayload) as refused:
            ask(world, {**BODY, field: f"a{control}b"})
        assert [issue["path"] for issue in refused.value.issues] == [field]
    assert (
        ask(world, {**BODY, field: "two\r\nlines,\ta tab, 🧑\u200d🚀, \u200f\u05e9\u05dc\u05d5\u05dd\u2028"}).status
        is Status.QUEUED
    )


def test_callers_do_not_meet_and_no_key_means_a_new_job(world: World) -> None:
    jobs = [ask(world), ask(world, caller=Caller("somebody else")), ask(world, key=None), ask(world, key=None)]
    assert len({job.job_id for job in jobs}) == len(world.executions()) == 4


REFUSED: list[tuple[object, dict[str, Any], type[Fault], int]] = [
    (b"{", {}, InvalidJson, 400),
    (b"", {}, InvalidJson, 400),
    (b"\xff\xfe", {}, InvalidJson, 400),
    (b'{"model_id": NaN}', {}, InvalidJson, 400),
    (b"[" * 100_000, {}, InvalidJson, 400),
    (b'{"model_id": "m", "prompt": "gr\\uFFFDn"}', {}, InvalidJson, 400),
    (b'{"model_id": "m", "metadata": {"a\\\\\\ufffd": 1}}', {}, InvalidJson, 400),
    ('{"model_id": "m", "prompt": "gr\ufffdn"}'.encode(), {}, InvalidJson, 400),
    (BODY, {"key": ""}, KeyUnusable, 400),
    (BODY, {"key": '""'}, KeyUnusable, 400),
    (BODY, {"key": "x" * 256}, KeyUnusable, 400),
    (BODY, {"key": "schlüssel"}, KeyUnusable, 400),
    (BODY, {"key": "a\nb"}, KeyUnusable, 400),
    (BODY, {"key": "a,b"}, KeyUnusable, 400),
    (BODY, {"key": '"a","b"'}, KeyUnusable, 400),
    (BODY, {"key": '"a,b",a'}, KeyUnusable, 400),
    (BODY, {"key": '"a,b'}, KeyUnusable, 400),
    (BODY, {"key": 'k,""'}, KeyUnusable, 400),
    (BODY, {"key": " , "}, KeyUnusable, 400),
    (BODY, {"key": "k," + "x" * 256}, KeyUnusable, 400),
    (b" " * (256 * 1024 + 1), {}, BodyTooLarge, 413),
    (b"[]", {}, InvalidPayload, 422),
    (b"null", {}, InvalidPayload, 422),
    ({"prompt": "no model"}, {}, InvalidPayload, 422),
    ({**BODY, "colour": "red"}, {}, InvalidPayload, 422),
    ({**BODY, "reference_image_urls": ["https://example.com/x"] * 10}, {}, InvalidPayload, 422),
    ({"model_id": "m", "reference_audio_urls": ["https://example.com/x"]}, {}, InvalidPayload, 422),
    ({**BODY, "metadata": []}, {}, InvalidPayload, 422),
    ({**BODY, "metadata": {"x": "y" * 2048}}, {}, InvalidPayload, 422),
    (b'{"model_id": "m", "metadata": {"x": 1e999}}', {}, InvalidPayload, 422),
    (b'{"model_id": "m", "metadata": {"x": "\\ud800"}}', {}, InvalidPayload, 422),
]


@pytest.mark.parametrize(("body", "who", "error", "status"), REFUSED)
def test_what_can_be_judged_is_judged_before_anything_is_kept(
    world: World, body: object, who: dict[str, Any], error: type[Fault], status: int
) -> None:
    with pytest.raises(error) as fault:
        ask(world, body, **who)
    assert HTTP_STATUS[type(fault.value)] == status
    assert not world.executions()
    assert world.dynamodb.scan(TableName="jobs")["Count"] == 0


def test_the_largest_request_fits_into_the_table(world: World) -> None:
    raw = {"text": "字" * 21_000}
    body = {"model_id": "m", "prompt": "👟" * 20_000, "negative_prompt": "👟" * 20_000, "raw_params": raw}
    job = world.create_job(json.dumps(body, ensure_ascii=False).encode(), caller=Caller("me"), key=None)
    assert json.loads(job.request or "") == body


def test_a_job_is_shown_without_what_only_the_vendor_needs(world: World) -> None:
    world.paid_job(metadata={"a": 1.5})
    shown = world.lookup().show(JOB_ID)
    assert (shown["status"], shown["metadata"], shown["elapsed_seconds"] > 0) == ("processing", {"a": 1.5}, True)
    assert not {"request", "claim", "video"} & set(shown)
    assert PROMPT not in json.dumps(shown)


def test_a_waiting_caller_learns_how_long_it_will_take(world: World) -> None:
    world.paid_job()
    assert "no estimate yet" in world.lookup().show(JOB_ID)["estimate"]
    world.store.update(JOB_ID, submitted_at=int(time.time()) - 100, expected_seconds=[160, 200])
    assert world.lookup().show(JOB_ID)["estimate"] == "about 60 s left"
    world.store.update(JOB_ID, submitted_at=int(time.time()) - 300)
    assert world.lookup().show(JOB_ID)["estimate"] == "taking longer than usual"
    world.store.transition(JOB_ID, Status.DELIVERING)
    assert "estimate" not in world.lookup().show(JOB_ID)


def test_a_link_is_signed_when_it_is_asked_for(world: World) -> None:
    world.paid_job()
    world.store.transition(JOB_ID, Status.DELIVERING, error={"code": "old"})
    world.store.update(JOB_ID, output={"bucket": VIDEOS, "key": "videos/a.mp4", "bytes": 3})
    assert "video" not in world.lookup().show(JOB_ID)
    world.store.transition(JOB_ID, Status.SUCCEEDED)
    shown = world.lookup().show(JOB_ID)
    assert "X-Amz-Signature" in shown["video"]["url"]
    assert shown["video"]["url_expires_in_seconds"] == 3600
    assert "error" not in shown


@pytest.mark.parametrize("job_id", [JOB_ID, "", "a/b", "x" * 200, "model#x"])
def test_a_job_that_is_not_there_is_not_found(world: World, job_id: str) -> None:
    with pytest.raises(JobNotFound):
        world.lookup().show(job_id)
