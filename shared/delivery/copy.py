"""Copies a video from its link into the bucket: in parallel ranges where the origin can, in one stream where it cannot.

Memory is bounded by the parts in flight, whatever the size of the file: a part's buffer is filled, sent and filled
again. Nothing is published before its length and container are found right. A ranged copy can stop at any moment and be
taken up by a later call, also after its process was killed. Knows nothing of the vendor or of jobs: `source` is the
caller's way to a fresh link.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.delivery.errors import (
    DeliveryIncomplete,
    OutputExpired,
    OutputInvalid,
    OutputRefused,
    OutputTooLarge,
    OutputUnreachable,
)
from shared.delivery.fetch import Clock, Fetcher, OutOfTime, Reply
from shared.delivery.limits import Limits, Part, part_size, parts_in_flight, parts_of
from shared.delivery.media import SNIFF_BYTES, Skim, content_type, examine
from shared.delivery.store import Delivery, Store, Upload, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_s3 import S3Client

    from shared.delivery.media import Container, MediaFacts

ATTEMPTS = 4
"""Requests for one part before the copy gives up."""
_BACKOFF_SECONDS = 0.25


class _Link:
    """The link as it is now, shared by the workers, replaced by a fresh one when it has expired."""

    def __init__(self, source: Callable[[], str]) -> None:
        self._source = source
        self._lock = threading.Lock()
        self.url = source()

    def settle(self, url: str, final: str) -> None:
        """Skip the redirects from now on."""
        with self._lock:
            if self.url == url:
                self.url = final

    def renew(self, stale: str) -> None:
        """Ask for a fresh link, unless another worker already has."""
        with self._lock:
            if self.url == stale:
                self.url = self._source()


@dataclass(frozen=True, slots=True)
class _Origin:
    """A file at its origin, of one version, that can be read in ranges."""

    link: _Link
    clock: Clock
    version: Version

    def read(self, fetcher: Fetcher, start: int, view: memoryview, opened: Reply | None = None) -> None:
        """Fill `view` with the bytes from `start`, by itself tried again. `opened` is an answer that begins there."""
        for attempt in range(1, ATTEMPTS + 1):
            url = self.link.url
            try:
                reply = opened or fetcher.open(url, (start, start + len(view) - 1), self.version.validator)
                opened = None
                self.link.settle(url, reply.url)
                self._expect(reply, len(view))
                reply.fill(view)
            except (OutputExpired, OutputInvalid, OutputUnreachable) as error:
                fetcher.close()
                if attempt == ATTEMPTS:
                    raise
                if isinstance(error, OutputExpired):
                    self.link.renew(url)
                self.clock.sleep(random.uniform(0, _BACKOFF_SECONDS * 2**attempt))  # noqa: S311
            else:
                return

    def _expect(self, reply: Reply, length: int) -> None:
        if (reply.validator, reply.total, reply.length) != (self.version.validator, self.version.total, length):
            raise OutputInvalid(f"The file at {reply.host} changed while it was copied.")


def deliver(
    source: Callable[[], str],
    *,
    s3: S3Client,
    bucket: str,
    key: str,
    limits: Limits,
    metadata: Mapping[str, str],
    tags: Mapping[str, str],
    remaining: Callable[[], float],
    approve: Callable[[], None] = lambda: None,
    first: bool = False,
) -> Delivery:
    """Copy the file behind a link to `s3://bucket/key`, verified. May be called again with the same key at any time.

    Args:
        source: Gives a fresh link. Called once at the start and again when the link expires, possibly from a thread.
        s3: A boto3 client with time-outs shorter than `limits.reserve_seconds`. Needs, on the bucket, `ListBucket`,
            `ListBucketMultipartUploads`; on `key` and `key.partial`, `GetObject`, `PutObject`, `PutObjectTagging`,
            `DeleteObject` (`.partial` only), `AbortMultipartUpload`, `ListMultipartUploadParts`.
        metadata: Metadata of the object, ASCII.
        tags: Tags of the object.
        remaining: Seconds the caller has left.
        approve: Called right before the object appears; what it raises keeps it from appearing.
        first: The caller knows that no earlier call has begun, so nothing is looked for in the bucket. If that is
            wrong, the file is fetched again and nothing worse happens.

    Raises:
        DeliveryIncomplete: Out of time, progress kept; call again.
        OutputExpired, OutputInvalid, OutputRefused, OutputTooLarge, OutputUnreachable: See `shared.delivery.errors`.
        Exception: What `source`, `approve` or S3 raised. Progress is kept.
    """
    store = Store(s3, bucket, key, metadata, tags, approve)
    there, begun = (False, False) if first else store.look()
    if there and (finished := store.finished()) is not None:
        if begun:
            store.clear()  # the note of a call that published the file and died before it could remove it
        return finished
    clock = Clock(remaining, limits)
    with Fetcher(limits, clock) as fetcher:
        try:
            clock.left()
        except OutOfTime:
            raise DeliveryIncomplete("There was no time left to begin with.") from None
        link = _Link(source)
        try:
            # With parts in the bucket already, the first part would be fetched in vain.
            reply = fetcher.open(link.url, (0, (SNIFF_BYTES if begun else limits.part_bytes) - 1))
            link.settle(link.url, reply.url)
            return _copy(link, fetcher, reply, store, limits, clock)
        except OutOfTime:
            raise OutputUnreachable("The origin is too slow: the file did not arrive in the time there is.") from None


def _copy(link: _Link, fetcher: Fetcher, reply: Reply, store: Store, limits: Limits, clock: Clock) -> Delivery:
    kind = _approved(reply, limits)
    if reply.whole:
        return _copy_stream(reply, kind, store, limits)
    if reply.total is not None and reply.validator is not None:
        version = Version(reply.validator, reply.total, part_size(reply.total, limits))
        return _copy_ranges(_Origin(link, clock, version), kind, fetcher, reply, store, limits)
    # Without a strong validator, ranges of two requests may belong to two versions of the file.
    fetcher.close()
    reply = fetcher.open(link.url)
    return _copy_stream(reply, _approved(reply, limits), store, limits)


def _approved(reply: Reply, limits: Limits) -> str:
    """The content type of a body that may be copied, decided before anything is written."""
    if reply.total is not None and reply.total > limits.max_bytes:
        raise OutputTooLarge(f"The file has {reply.total} bytes; the limit is {limits.max_bytes}.")
    head = reply.peek(SNIFF_BYTES)
    if not head:
        raise OutputInvalid(f"{reply.host} sent an empty file.")
    kind = content_type(head)
    if kind is None:
        what = "a web page or text" if head.lstrip()[:1] in (b"<", b"{") else "something else"
        raise OutputInvalid(f"{reply.host} sent {what}, not an MP4, MOV or WebM video.")
    return kind


def _require_whole(container: Container) -> None:
    if not container.whole:
        raise OutputInvalid("The video is cut off: its container announces more than the origin sent.")
    if not container.video:
        raise OutputInvalid("The file is no video: its header lists only sound or pictures.")


def _copy_stream(reply: Reply, kind: str, store: Store, limits: Limits) -> Delivery:
    """Copy a body that comes in one piece; a part is uploaded while the next ones are read."""
    size = part_size(limits.max_bytes if reply.total is None else reply.total, limits)
    buffer = bytearray(size if reply.total is None else min(size, reply.total))
    count = reply.fill(memoryview(buffer))
    if count < len(buffer) or count == reply.total:
        del buffer[count:]
        container = examine(lambda start, length: bytes(buffer[start : start + length]), count)
        _require_whole(container)
        return store.put(buffer, kind, container.facts)
    upload = store.begin(kind, version=None)
    try:
        total, container = _pump(reply, buffer, upload, limits)
        _require_whole(container)
        upload.complete(total)
    except BaseException:
        _discard(upload)
        raise
    return _published(store, total, container.facts)


def _pump(reply: Reply, buffer: bytearray, upload: Upload, limits: Limits) -> tuple[int, Container]:
    """Upload the full `buffer` and the rest of the body behind it. Returns the size in bytes, and the container."""

    def send(number: int, body: bytearray) -> bytearray:
        upload.put(number, body)
        return body

    size = count = len(buffer)
    depth = max(1, parts_in_flight(size, limits) - 1)  # one buffer is being filled
    total, number, skim = 0, 0, Skim()
    pending: deque[Future[bytearray]] = deque()
    with ThreadPoolExecutor(depth) as pool:
        while count:
            total, number = total + count, number + 1
            if total > limits.max_bytes:
                raise OutputTooLarge(f"The file has more than {limits.max_bytes} bytes, which is the limit.")
            del buffer[count:]
            skim.feed(buffer)
            pending.append(pool.submit(send, number, buffer))
            if count < size:
                break
            buffer = pending.popleft().result() if len(pending) > depth else bytearray(size)
            count = reply.fill(memoryview(buffer))
        for sent in pending:
            sent.result()
    return total, skim.examine()


def _copy_ranges(origin: _Origin, kind: str, fetcher: Fetcher, reply: Reply, store: Store, limits: Limits) -> Delivery:
    """Copy a file part by part, several at once, beginning with the parts that an earlier call left over."""
    version = origin.version
    parts = parts_of(version.total, limits)
    upload = store.resume(version, parts) or store.begin(kind, version)
    before = upload.stored
    try:
        _transfer(origin, [part for part in parts if part.number not in before], upload, fetcher, reply, limits)
        container = examine(lambda start, length: _read(origin, fetcher, start, length), version.total)
        _require_whole(container)
    except OutOfTime:
        if upload.stored == before:
            if not before:
                _discard(upload)
            raise
        raise DeliveryIncomplete(
            f"{len(upload.stored)} of {len(parts)} parts are copied; the next call copies the rest."
        ) from None
    except (OutputInvalid, OutputRefused):
        _discard(upload)
        raise
    except Exception:
        if not upload.stored:
            _discard(upload)
        raise
    upload.complete(version.total)
    return _published(store, version.total, container.facts)


def _read(origin: _Origin, fetcher: Fetcher, start: int, length: int) -> bytes:
    buffer = bytearray(length)
    origin.read(fetcher, start, memoryview(buffer))
    return bytes(buffer)


def _transfer(
    origin: _Origin, missing: list[Part], upload: Upload, fetcher: Fetcher, reply: Reply, limits: Limits
) -> None:
    """Copy the missing parts with as many workers as memory allows. The first error stops them all."""
    size = origin.version.part_bytes
    queue = iter(missing)

    def work(fetcher: Fetcher, part: Part | None, opened: Reply | None) -> None:
        buffer = bytearray(size)
        while part is not None:
            del buffer[part.length :]  # only the last part is shorter
            origin.read(fetcher, part.start, memoryview(buffer), opened)
            upload.put(part.number, buffer)
            part, opened = next(queue, None), None

    def work_alone() -> None:
        with Fetcher(limits, origin.clock) as own:
            work(own, next(queue, None), None)

    first = next(queue, None)
    opened = reply if first is not None and first.start == 0 and reply.length == first.length else None
    workers = min(parts_in_flight(size, limits), len(missing))
    with ThreadPoolExecutor(max(1, workers)) as pool:
        futures = [pool.submit(work, fetcher, first, opened), *(pool.submit(work_alone) for _ in range(1, workers))]
        for future in as_completed(futures):
            if future.exception() is not None:
                origin.clock.stop()
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        # Workers that were stopped report that they ran out of time; the one that failed says why.
        raise next((error for error in errors if not isinstance(error, OutOfTime)), errors[0])


def _discard(upload: Upload) -> None:
    # The error under way says more than a failed clean-up, and the bucket's lifecycle rule removes the rest.
    with contextlib.suppress(Exception):
        upload.abort()


def _published(store: Store, total: int, media: MediaFacts | None = None) -> Delivery:
    delivery = store.finished(media)
    if delivery is None or delivery.bytes != total:
        raise OutputInvalid("Something else wrote to the video's key while it was delivered.")
    return delivery
