"""Test how the commands find jobs by what they contain, and the message if there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from ops.exits import Refused
from ops.finder import Finder
from shared.api.callers import Caller
from shared.jobs import identity
from shared.jobs.notifications import RECIPE_INVALID, UPLOAD_IGNORED, notification_for
from shared.jobs.states import Status
from shared.steps.deliver import key_of
from tests.support.fakes import BODY, EXECUTION, JOB_ID, TABLE, UPLOADS, VIDEO_ID, VIDEOS, World
from tests.support.operators import LATER, operator_of, uncertain, with_index

KEY = "uploads/shoes/red shoe:2.jpg"
CALLER = "arn:aws:sts::123456789012:assumed-role/shop"


class Reads:
    """DynamoDB that records reads of the whole index."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.searched = False

    def __getattr__(self, name: str) -> Any:
        self.searched |= name == "get_paginator"
        return getattr(self._real, name)


def finder(world: World) -> Finder:
    return Finder(store=world.store, s3=world.s3, uploads=UPLOADS, videos=VIDEOS)


def find(world: World, what: str) -> list[str]:
    return [job.job_id for job in finder(world).find(what)]


def upload(world: World, key: str = KEY) -> str:
    """Put a file, and make its job as `functions/uploads` does."""
    version = world.upload(key, b"shoe")
    return _job_of(world, key, version)


def _job_of(world: World, key: str, version: str) -> str:
    source = {"type": "upload", "bucket": UPLOADS, "key": key, "version_id": version}
    return world.store.create(identity.for_object(UPLOADS, key, version), source=source)[0].job_id


@pytest.fixture
def crowd(world: World) -> World:
    """Make a table with many jobs, none of them the one that is searched for."""
    with_index(world)
    for number in range(5):
        world.job(f"other-{number}")
        world.store.create(f"row-{number}", source={"type": "batch", "bucket": UPLOADS, "key": "batches/others.csv"})
    upload(world, f"{KEY}.png")
    return world


# ---- what names the job alone -------------------------------------------------------------------------------

VIDEO_KEY = f"videos/2026/11/22/{JOB_ID}.mp4"
CONSOLE = "https://eu-central-1.console.aws.amazon.com"
NAMES = {
    "job": JOB_ID,
    "execution's name": f"{JOB_ID}.r2",
    "execution": EXECUTION,
    "later execution": LATER,
    "console's link": f"https://eu-central-1.console.aws.amazon.com/states/home#/v2/executions/details/{EXECUTION}?s=1",
    "notification": f"{JOB_ID}/succeeded",
    "notification of one of many": f"{JOB_ID}/interrupted#1764000000000",
    "video's key": VIDEO_KEY,
    "description's key": f"videos/2026/11/22/{JOB_ID}.json",
    "key of an unfinished copy": f"{VIDEO_KEY}.partial",
    "video's address": f"s3://{VIDEOS}/{VIDEO_KEY}",
    "video's ARN": f"arn:aws:s3:::{VIDEOS}/{VIDEO_KEY}",
    "video's link": f"https://{VIDEOS}.s3.eu-central-1.amazonaws.com/{VIDEO_KEY}?X-Amz-Signature=1",
    "e-mail's link to the video": CONSOLE + f"/s3/object/{VIDEOS}?region=x&prefix={quote(VIDEO_KEY, safe='')}",
    "console's link to the video, elsewhere": f"https://s3.console.aws.amazon.com/s3/object/{VIDEOS}?prefix={VIDEO_KEY}",
    "link in China": f"https://cn-north-1.console.amazonaws.cn/s3/object/{VIDEOS}?prefix={quote(VIDEO_KEY, safe='')}",
    "link in brackets": f"<{CONSOLE}/s3/object/{VIDEOS}?prefix={VIDEO_KEY}>",
    "video's link, path style": f"https://s3.eu-central-1.amazonaws.com/{VIDEOS}/{VIDEO_KEY}",
    "video's link on a laptop": f"http://127.0.0.1:4566/{VIDEOS}/{VIDEO_KEY}?X-Amz-Signature=1",
    "e-mail's link to the execution": f"{CONSOLE}/states/home?region=eu-central-1#/v2/executions/details/{EXECUTION}",
    "encoded link to the execution": f"{CONSOLE}/states/home#/v2/executions/details/{quote(EXECUTION, safe='')}",
    "Location": f"/videos/{JOB_ID}",
    "portal's shortcut to the video": "https://x.awsapps.com/start/#/console?account_id=1&role_name=a&destination="
    + quote(f"{CONSOLE}/s3/object/{VIDEOS}?region=x&prefix={quote(VIDEO_KEY, safe='')}", safe=""),
    "portal's shortcut to the execution": "https://ssoins-1.portal.eu-central-1.app.aws/#/console?destination="
    + quote(f"{CONSOLE}/states/home?region=x#/v2/executions/details/{EXECUTION}", safe=""),
    "sign-in that leads to the video": "https://signin.aws.amazon.com/federation?Action=login&Destination="
    + quote(f"{CONSOLE}/s3/object/{VIDEOS}?prefix={VIDEO_KEY}", safe="")
    + "&SigninToken=x",
    "video's key behind its bucket": f"{VIDEOS}/{VIDEO_KEY}",
    "video's link without https": f"{VIDEOS}.s3.eu-central-1.amazonaws.com/{VIDEO_KEY}",
    "console's link without https": f"{CONSOLE.removeprefix('https://')}/s3/object/{VIDEOS}?prefix={VIDEO_KEY}",
    "link in Markdown": f"[The video](https://{VIDEOS}.s3.eu-central-1.amazonaws.com/{VIDEO_KEY})",
    "link in Markdown with a title": f'[a]({CONSOLE}/s3/object/{VIDEOS}?prefix={VIDEO_KEY} "The video").',
    "link in a chat": f"<{CONSOLE}/s3/object/{VIDEOS}?prefix={VIDEO_KEY}|The video>",
    "link to the European cloud": f"https://{VIDEOS}.s3.eusc-de-east-1.amazonaws.eu/{VIDEO_KEY}",
    "console of the European cloud": f"https://x.console.amazonaws-eusc.eu/s3/object/{VIDEOS}?prefix={VIDEO_KEY}",
    **{
        f"{kind} with {form.format('it')}": form.format(held)
        for form in ("{}.", "({})", "({}).", "{},", "*{}*", "`{}`", "**{}**", "\u201c{}\u201d")
        for kind, held in (
            ("link", f"https://{VIDEOS}.s3.eu-central-1.amazonaws.com/{VIDEO_KEY}"),
            ("console's link", f"{CONSOLE}/s3/object/{VIDEOS}?prefix={quote(VIDEO_KEY, safe='')}"),
            ("job", JOB_ID),
        )
    },
    "address in the API": f"https://x.execute-api.eu-central-1.amazonaws.com/videos/{JOB_ID}",
}


@pytest.mark.parametrize("name", NAMES)
def test_what_holds_the_jobs_id_is_read(crowd: World, name: str) -> None:
    crowd.paid_job()
    reads = Reads(crowd.dynamodb)
    crowd.store = type(crowd.store)(reads, TABLE)  # type: ignore[arg-type]  # a double of the client
    assert find(crowd, NAMES[name]) == [JOB_ID]
    assert not reads.searched, "nobody waits for a search where the name says it"


def test_the_texts_in_use_are_the_ones_that_are_read(crowd: World) -> None:
    crowd.paid_job()
    job = crowd.store.transition(JOB_ID, Status.CANCELED, notice_due="canceled")
    assert find(crowd, notification_for(job).message["notification_id"]) == [JOB_ID]
    assert find(crowd, key_of(job)) == [JOB_ID]


def test_an_execution_that_somebody_named_freely_is_found(crowd: World) -> None:
    name = "Grüße & Küsse, 3"
    crowd.job(identity.of_execution(f"{EXECUTION.rpartition(':')[0]}:{name}"))
    assert find(crowd, name) == [identity.of_execution(name)]


# ---- uploads ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{key}", "s3://{bucket}/{key}", "arn:aws:s3:::{bucket}/{key}"])
@pytest.mark.parametrize(
    "key", [KEY, "uploads/shoe.jpg", "requests/boat.json", "uploads/pair/spring.manifest.json", "uploads/videos/a.mp4"]
)
def test_every_version_of_an_upload_is_found(crowd: World, form: str, key: str) -> None:
    crowd.job("a")  # a job with a name like a part of a key
    jobs = [upload(crowd, key) for _ in range(3)]
    crowd.s3.delete_object(Bucket=UPLOADS, Key=key)
    assert sorted(find(crowd, form.format(bucket=UPLOADS, key=key))) == sorted(jobs)


ADDRESSES = {
    "blanks around": " {key}\n",
    "percent-encoded": "{encoded}",
    "as S3's events encode it": "{plus}",
    "address, encoded": "s3://{bucket}/{encoded}",
    "ARN of China": "arn:aws-cn:s3:::{bucket}/{key}",
    "object URL": "https://{bucket}.s3.eu-central-1.amazonaws.com/{encoded}",
    "object URL without a region": "https://{bucket}.s3.amazonaws.com/{encoded}",
    "object URL with a dash": "https://{bucket}.s3-eu-west-1.amazonaws.com/{encoded}",
    "dual stack": "https://{bucket}.s3.dualstack.eu-west-1.amazonaws.com/{encoded}",
    "accelerated": "https://{bucket}.s3-accelerate.amazonaws.com/{encoded}",
    "FIPS": "https://{bucket}.s3-fips.us-gov-west-1.amazonaws.com/{encoded}",
    "China": "https://{bucket}.s3.cn-north-1.amazonaws.com.cn/{encoded}",
    "path style": "https://s3.eu-central-1.amazonaws.com/{bucket}/{encoded}",
    "path style without a region": "http://s3.amazonaws.com/{bucket}/{encoded}",
    "plus for a blank": "https://{bucket}.s3.eu-central-1.amazonaws.com/{plus}",
    "laptop": "http://127.0.0.1:4566/{bucket}/{encoded}",
    "presigned": "https://{bucket}.s3.eu-central-1.amazonaws.com/{encoded}?X-Amz-Algorithm=AWS4&X-Amz-Signature=1",
    "console": CONSOLE + "/s3/object/{bucket}?region=eu-central-1&bucketType=general&prefix={all_encoded}",
    "console's tab": CONSOLE + "/s3/object/{bucket}?region=eu-central-1&prefix={all_encoded}&tab=versions",
    "key behind its bucket": "{bucket}/{key}",
    "no https": "{bucket}.s3.eu-central-1.amazonaws.com/{encoded}",
    "a slash too many": "https://{bucket}.s3.eu-central-1.amazonaws.com//{encoded}",
    "a slash too many in path style": "https://s3.eu-central-1.amazonaws.com/{bucket}//{encoded}",
    "a slash too many in an address": "s3://{bucket}//{encoded}",
    "a slash before the key": "/{key}",
    "end of a sentence": "https://{bucket}.s3.eu-central-1.amazonaws.com/{encoded}.",
    "brackets": "({bucket}/{key})",
    "portal's shortcut": "https://x.awsapps.com/start/#/console?account_id=1&destination={shortcut}",
    "European cloud": "https://{bucket}.s3.eusc-de-east-1.amazonaws.eu/{encoded}",
    "older console": "https://s3.console.aws.amazon.com/s3/object/{bucket}/{encoded}?region=eu-central-1",
}
KEYS = [
    KEY,
    "uploads/boat (1).",
    "uploads/(2)",
    "uploads/shoes/100% +ü & x?y#z.jpg",
    "requests/a+b.json",
    "uploads/50%25.jpg",
]


@pytest.mark.parametrize("form", ADDRESSES)
@pytest.mark.parametrize("key", KEYS)
def test_an_upload_is_found_by_every_link_to_it(crowd: World, form: str, key: str) -> None:
    job_id = upload(crowd, key)
    written = {"encoded": quote(key), "plus": quote_plus(key, safe="/"), "all_encoded": quote(key, safe="")}
    written["shortcut"] = quote(f"{CONSOLE}/s3/object/{UPLOADS}?region=x&prefix={written['all_encoded']}", safe="")
    assert find(crowd, ADDRESSES[form].format(bucket=UPLOADS, key=key, **written)) == [job_id]


@pytest.mark.parametrize(
    "form",
    [
        "https://{bucket}.s3.eu-central-1.amazonaws.com/{key}?versionId={version}",
        CONSOLE + "/s3/object/{bucket}?versionId={version}&prefix={key}",
        "s3://{bucket}/{key}?versionId={version}",
    ],
)
def test_a_link_to_a_version_is_that_versions_job(crowd: World, form: str) -> None:
    jobs = {(version := crowd.upload(KEY, b"shoe")): _job_of(crowd, KEY, version) for _ in range(2)}
    for version, job_id in jobs.items():
        assert find(crowd, form.format(bucket=UPLOADS, key=quote(KEY), version=version)) == [job_id]


def test_an_idempotency_key_is_found_with_its_quotes(crowd: World) -> None:
    job = crowd.create_job(json.dumps(BODY).encode(), caller=Caller(CALLER), key='"order-1"')
    assert find(crowd, '"order-1"') == find(crowd, "order-1") == [job.job_id]


def test_a_file_that_was_sent_with_a_form_is_found_also_before_it_arrives(crowd: World) -> None:
    crowd.recipe(BODY)
    form = crowd.presign_upload(json.dumps({"filename": "shoe.jpg", "content_type": "image/jpeg"}).encode())
    crowd.job(form["job_id"])
    assert find(crowd, form["key"]) == find(crowd, form["job_id"]) == [form["job_id"]]


def test_an_upload_that_s3_has_deleted_is_searched_for(crowd: World) -> None:
    job_id = _job_of(crowd, KEY, "long gone")
    assert find(crowd, KEY) == find(crowd, f"s3://{UPLOADS}/{KEY}") == [job_id]


def test_an_upload_is_found_by_its_name_alone(crowd: World) -> None:
    jobs = {upload(crowd), upload(crowd, "uploads/red shoe:2.jpg")}
    assert set(find(crowd, "red shoe:2.jpg")) == jobs
    assert find(crowd, "shoes/red shoe:2.jpg") == [identity.for_object(UPLOADS, KEY, _version(crowd))]


def _version(world: World) -> str:
    version: str = world.s3.head_object(Bucket=UPLOADS, Key=KEY)["VersionId"]
    return version


def test_all_rows_of_a_batch_are_found(crowd: World) -> None:
    assert sorted(find(crowd, f"s3://{UPLOADS}/batches/others.csv")) == [f"row-{number}" for number in range(5)]


@pytest.mark.parametrize(
    "form",
    [
        "batches/others/{}.json",
        "s3://{bucket}/batches/others/{}.json",
        "s3://{bucket}/batches/others/",
        "https://{bucket}.s3.eu-central-1.amazonaws.com/batches/others/{}.csv?X-Amz-Signature=1",
        CONSOLE + "/s3/object/{bucket}?region=eu-central-1&prefix=batches%2Fothers%2F{}.json",
        CONSOLE + "/s3/buckets/{bucket}?prefix=batches/others/",
    ],
)
def test_all_rows_of_a_batch_are_found_by_its_report(crowd: World, form: str) -> None:
    crowd.store.create("row", source={"type": "batch", "bucket": UPLOADS, "key": "batches/others/x.csv"})
    report = form.format("batch-1", bucket=VIDEOS)
    assert sorted(find(crowd, report)) == [f"row-{number}" for number in range(5)]


def test_a_forms_key_finds_its_job_and_those_of_overwritten_files(crowd: World) -> None:
    job_id = identity.for_upload_form("shoes", "a.jpg")
    key = f"uploads/shoes/{job_id}/a.jpg"
    version = crowd.upload(key, b"shoe")
    crowd.store.create(job_id, source={"type": "upload", "bucket": UPLOADS, "key": key, "version_id": version})
    written_over = upload(crowd, key)
    assert set(find(crowd, key)) == {job_id, written_over}


# ---- what must be searched for ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.PROCESSING, Status.TIMED_OUT, Status.DELIVERING, Status.FAILED])
def test_a_video_at_genviral_is_found_in_any_status(crowd: World, status: Status) -> None:
    crowd.paid_job()
    crowd.store.transition(JOB_ID, status, stay=True)
    assert find(crowd, VIDEO_ID) == [JOB_ID]


def test_an_idempotency_key_is_found_without_its_caller(crowd: World) -> None:
    body = json.dumps(BODY).encode()
    jobs = {crowd.create_job(body, caller=Caller(caller), key="order/4711").job_id for caller in (CALLER, "anonymous")}
    crowd.create_job(body, caller=Caller(CALLER), key="order/4712")
    crowd.create_job(body, caller=Caller(CALLER), key=None)
    assert set(find(crowd, "order/4711")) == jobs


def test_a_job_that_moves_on_during_the_search_is_not_missed(crowd: World) -> None:
    crowd.paid_job()

    class Moving(Reads):
        def get_paginator(self, name: str) -> Any:
            paginator = self._real.get_paginator(name)

            class Pages:
                def paginate(self, **arguments: Any) -> Any:
                    if arguments["ExpressionAttributeValues"][":status"]["S"] == "processing":
                        crowd.store.transition(JOB_ID, Status.DELIVERING)
                    return paginator.paginate(**arguments)

            return Pages()

    moving = Finder(
        store=type(crowd.store)(Moving(crowd.dynamodb), TABLE),  # type: ignore[arg-type]  # a double of the client
        s3=crowd.s3,
        uploads=UPLOADS,
        videos=VIDEOS,
    )
    assert [job.job_id for job in moving.find(VIDEO_ID)] == [JOB_ID]


# ---- what is not there ------------------------------------------------------------------------------------------

Prepare = Callable[[World], Any]


def put(key: str) -> Prepare:
    return lambda world: world.upload(key, b"shoe")


def gone(world: World) -> None:
    world.upload(KEY, b"shoe")
    world.s3.delete_object(Bucket=UPLOADS, Key=KEY)


MISSING: dict[str, tuple[Prepare, str, str]] = {
    "anything": (lambda _: None, "nobody", "Nothing is known as nobody"),
    "nothing": (lambda _: None, "", "Nothing is known as"),
    "an item that is no job": (lambda _: None, "#intake", "Nothing is known as #intake"),
    "braces": (lambda _: None, "{what}{0}", "Nothing is known as {what}{0}"),
    "a file that is not there": (lambda _: None, KEY, f"There is no {KEY} in {UPLOADS}"),
    "a file without a job": (lambda world: world.upload(KEY, b"shoe"), KEY, "there is no job of it"),
    "a deleted file without a job": (gone, KEY, f"There is no {KEY} in {UPLOADS}"),
    "a file that starts nothing": (put("uploaded/shoe.jpg"), "uploaded/shoe.jpg", "no job comes of a file there"),
    "its address": (put("shoe.jpg"), f"s3://{UPLOADS}/shoe.jpg", "no job comes of a file there"),
    "an asset": (put("assets/shoe.jpg"), "assets/shoe.jpg", "no job comes of a file there"),
    "a batch without jobs": (put("batches/a.csv"), "batches/a.csv", "no row of it is a job"),
    "a check": (put("batches/a.check.csv"), "batches/a.check.csv", "was a check: it starts no job and pays nothing"),
    "a check by its name": (put("batches/a.CHECK.csv"), "a.CHECK.csv", "was a check"),
    "a check by its link": (
        put("batches/a.check.csv"),
        f"https://{UPLOADS}.s3.eu-central-1.amazonaws.com/batches/a.check.csv",
        "was a check",
    ),
    "a report without jobs": (lambda _: None, f"s3://{VIDEOS}/batches/a/1.json", "the place of a batch's report"),
    "a link to another bucket, in Markdown": (lambda _: None, f"[x](s3://x/{KEY})", "x is no bucket of this stack"),
    "a batch by its name": (put("batches/a.csv"), "a.csv", "no row of it is a job"),
    "a link into another bucket": (lambda _: None, f"https://x.s3.amazonaws.com/{KEY}", "x is no bucket of this stack"),
    "a console's link to something else": (lambda _: None, f"{CONSOLE}/s3/home", "Nothing is known as"),
    "a batch that is not there": (lambda _: None, "batches/b.csv", f"There is no batches/b.csv in {UPLOADS}"),
    "an address of nothing": (lambda _: None, f"s3://{UPLOADS}/b.jpg", f"There is no s3://{UPLOADS}/b.jpg in"),
    "a longer text than a key": (lambda _: None, "k" * 1025, "Nothing is known as kkk"),
    "a part of a key": (upload, "uploads/shoes/red", "There is no uploads/shoes/red in"),
    "a part of a name": (upload, "shoe:2.jpg", "Nothing is known as shoe:2.jpg"),
    "another bucket": (lambda _: None, f"s3://elsewhere/{KEY}", f"those are {UPLOADS} and {VIDEOS}"),
    "a recipe's notification": (lambda _: None, f"{JOB_ID}/{RECIPE_INVALID}", "about a recipe"),
    "an ignored file's notification": (lambda _: None, f"{JOB_ID}/{UPLOAD_IGNORED}", "a file that starts nothing"),
    "a batch's notification": (lambda _: None, f"{JOB_ID}/batch_interrupted#1764", "or a batch"),
    "a file that is called like a recipe": (lambda _: None, "uploads/recipe_card", "There is no uploads/recipe_card"),
    "a key as the notification of a job": (lambda world: world.job("uploads"), "uploads/a.png", "There is no uploads/"),
}


def test_s3_is_not_asked_for_what_can_be_no_key(crowd: World) -> None:
    asked: list[str] = []
    crowd.s3.meta.events.register(
        "before-call.s3.ListObjectVersions", lambda **_: asked.append("S3"), unique_id="asked"
    )
    try:
        for text, is_asked in (("k" * 1025, False), ("k" * 1024, True)):
            with pytest.raises(Refused):
                find(crowd, text)
            assert bool(asked) is is_asked
    finally:
        crowd.s3.meta.events.unregister("before-call.s3.ListObjectVersions", unique_id="asked")


@pytest.mark.parametrize("case", MISSING)
def test_what_is_not_there_is_said(crowd: World, case: str) -> None:
    prepare, what, text = MISSING[case]
    prepare(crowd)
    with pytest.raises(Refused) as refused:
        finder(crowd).find(what)
    assert text in str(refused.value)


def test_a_video_that_two_jobs_have_is_found_in_both(crowd: World) -> None:
    """One recorded it from Genviral's answer, and an operator attached it to the other."""
    uncertain(crowd)
    operator_of(crowd).attach(JOB_ID, VIDEO_ID)
    crowd.store.create("another", source={"type": "api"}, video_id=VIDEO_ID)
    assert sorted(find(crowd, VIDEO_ID)) == sorted(["another", JOB_ID])


def test_a_job_that_never_got_the_video_is_not_found_by_it(crowd: World) -> None:
    crowd.store.note_owner(VIDEO_ID, "other-1")
    with pytest.raises(Refused):
        find(crowd, VIDEO_ID)
