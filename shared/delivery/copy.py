"""Copy a video from its link into the bucket: in parallel ranges if the origin supports them, else in one stream.

Many origins answer ranges wrongly but a plain GET well. So each call first tries ranges, if they are served as RFC 9110
requires, then one plain GET, and only then fails.

Memory is bounded by the parts in flight, whatever the size of the file, because buffers are reused. Nothing is
published before its length and container are verified. A ranged copy can stop at any moment, even when its process is
killed, and a later call resumes it.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.delivery.connection import Deadline, DeadlineExceeded
from shared.delivery.errors import (
    DeliveryIncomplete,
    OutputExpired,
    OutputInvalid,
    OutputRefused,
    OutputTooLarge,
    OutputUnreachable,
)
from shared.delivery.fetch import Fetcher, RangesUnusable, Reply
from shared.delivery.limits import Limits, Part, part_size, parts_in_flight, parts_of
from shared.delivery.media import SNIFF_BYTES, HeaderCapture, content_type, examine
from shared.delivery.store import Delivery, Store, Upload, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_s3 import S3Client

    from shared.delivery.media import Container, MediaFacts

ATTEMPTS = 4
"""Requests for the same bytes before the copy by ranges fails."""
ANSWERS = 64
"""Most responses for one part: an origin may send less than requested."""
_BACKOFF_SECONDS = 0.25
_LEAST_TO_COMPARE = 16
"""Fewest bytes to compare. If two places of a video happen to be equal, that costs one plain GET."""
_CUT_OFF = "The video is cut off: its container announces more than the origin sent."
_NO_VIDEO = "The file is no video: its header lists only sound or pictures."
_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd", "compress"})


class _Link:
    """The current link, shared by the workers and replaced by a fresh one when it has expired."""

    def __init__(self, source: Callable[[], str]) -> None:
        self._source = source
        self._lock = threading.Lock()
        self.url = self.given = source()

    def settle(self, url: str, final: str) -> None:
        """Skip the redirects from now on."""
        with self._lock:
            if self.url == url:
                self.url = final

    def renew(self, stale: str) -> None:
        """Get a fresh link, unless another worker already did."""
        with self._lock:
            if self.url == stale:
                self.url = self.given = self._source()


@dataclass(frozen=True, slots=True)
class _Origin:
    """One version of a file at its origin, which can be read in ranges. `head`: its first bytes."""

    link: _Link
    deadline: Deadline
    version: Version
    head: bytes

    def read(self, fetcher: Fetcher, start: int, view: memoryview, opened: Reply | None = None) -> None:
        """Fill `view` with the bytes from `start`. `opened` is a response that begins there.

        Raises:
            RangesUnusable: The origin sends anything but these bytes of this version.
            OutputExpired, OutputInvalid, OutputRefused, OutputUnreachable: Several attempts failed.
            DeadlineExceeded: The deadline has passed.
        """
        for _ in range(ANSWERS):
            count = self._read_answer(fetcher, start, view, opened)
            if start and self._begins_with_head(view[:count]):
                raise RangesUnusable("answers every range with the beginning of the file")
            if count == len(view):
                return
            start, view, opened = start + count, view[count:], None
        raise RangesUnusable("sends too little at a time")

    def _read_answer(self, fetcher: Fetcher, start: int, view: memoryview, opened: Reply | None) -> int:
        """Read one response to its end, with retries. Returns its size in bytes, which may be less than requested."""
        attempt = 0
        while True:
            attempt += 1
            url = self.link.url
            try:
                reply = opened or fetcher.open(url, (start, start + len(view) - 1), self.version.validator)
                opened = None
                self.link.settle(url, reply.url)
                return reply.fill(view[: self._expected(reply, len(view))])
            except (OutputExpired, OutputInvalid, OutputUnreachable) as error:
                fetcher.close()
                if attempt == ATTEMPTS:
                    raise
                if isinstance(error, OutputExpired):
                    self.link.renew(url)
                self.deadline.sleep(random.uniform(0, _BACKOFF_SECONDS * 2**attempt))  # noqa: S311

    def _begins_with_head(self, view: memoryview) -> bool:
        """Whether bytes from the middle of the file equal its first bytes, whatever their `Content-Range` says."""
        count = min(len(view), len(self.head))
        return count >= _LEAST_TO_COMPARE and view[:count] == self.head[:count]

    def _expected(self, reply: Reply, wanted: int) -> int:
        """Return the response's size in bytes, if it belongs to this version of the file."""
        of_version = (reply.partial, reply.validator, reply.total) == (True, self.version.validator, self.version.total)
        if not of_version or reply.length is None or reply.length > wanted:
            raise RangesUnusable("does not stay with one version of the file, or sends other bytes than asked for")
        return reply.length


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
    before_publish: Callable[[], None] = lambda: None,
    first: bool = False,
) -> Delivery:
    """Copy the file behind a link to `s3://bucket/key`, verified. May be called again with the same key at any time.

    Args:
        source: Returns a fresh link. Called once at the start and again when the link expires, possibly from a thread.
        s3: A boto3 client with timeouts shorter than `limits.reserve_seconds`. Needs, on the bucket, `ListBucket`,
            `ListBucketMultipartUploads`; on `key` and `key.partial`, `GetObject`, `PutObject`, `PutObjectTagging`,
            `DeleteObject` (`.partial` only), `AbortMultipartUpload`, `ListMultipartUploadParts`.
        metadata: Metadata of the object, ASCII.
        tags: Tags of the object.
        remaining: Seconds the caller has left.
        before_publish: Called right before the object appears; if it raises, the object does not appear.
        first: No earlier call has begun, so the bucket is not searched for its parts. If that is wrong, the file is
            only fetched again.

    Raises:
        DeliveryIncomplete: Out of time, progress kept; call again.
        OutputExpired, OutputInvalid, OutputRefused, OutputTooLarge, OutputUnreachable: See `shared.delivery.errors`.
        Exception: What `source`, `before_publish` or S3 raised. Progress is kept.
    """
    store = Store(s3, bucket, key, metadata, tags, before_publish)
    begun = False
    if not first:
        finished, begun = _finished(store)
        if finished is not None:
            return finished
    deadline = Deadline(remaining, limits)
    with Fetcher(limits, deadline) as fetcher:
        try:
            deadline.left()
        except DeadlineExceeded:
            raise DeliveryIncomplete("There was no time left to begin with.") from None
        try:
            return _Copy(_Link(source), fetcher, store, limits, deadline).run(begun=begun)
        except Exception as error:
            # An abandoned call that still runs may end after its successor; nothing else would remove its leftovers.
            with contextlib.suppress(Exception):
                finished, _ = _finished(store)
                if finished is not None:
                    return finished
            if isinstance(error, DeadlineExceeded):
                message = "The origin is too slow: the file did not arrive in the available time."
                raise OutputUnreachable(message) from None
            raise


def _finished(store: Store) -> tuple[Delivery | None, bool]:
    """Return the finished file, after removing leftovers, and whether an earlier call has begun."""
    there, begun = store.probe()
    finished = store.finished() if there else None
    if finished is not None and begun:
        store.clear()
    return finished, begun


@dataclass(slots=True)
class _Copy:
    """The attempts of one `deliver` call.

    Attributes:
        kept: Whether parts copied by ranges are in the bucket, from an earlier call or from this one.
        asked: Bytes that the current request's range asks for; 0 without a range.
        refused: Size in bytes of a file that came without ranges and is truncated or no video by its container.
        reason: Why it was refused.
    """

    link: _Link
    fetcher: Fetcher
    store: Store
    limits: Limits
    deadline: Deadline
    kept: bool = False
    asked: int = 0
    refused: int | None = None
    reason: str = ""

    def run(self, *, begun: bool) -> Delivery:
        """Copy by ranges, else by one plain GET. `begun`: an earlier call left parts."""
        failed: Exception | None = None
        self.kept = begun
        try:
            return self._with_ranges(begun=begun)
        except RangesUnusable:
            pass
        except (OutputExpired, OutputInvalid, OutputRefused, OutputUnreachable) as error:
            # Some origins redirect only ranges, for example to a sign-in page, so try a plain GET, too.
            if not self.fetcher.connected:
                raise
            failed = error.with_traceback(None)  # its frames hold the buffers of the parts
        return self._with_plain_get(failed)

    def _with_ranges(self, *, begun: bool) -> Delivery:
        # With parts already in the bucket, fetching the first part would be useless.
        self.asked = SNIFF_BYTES if begun else self.limits.part_bytes
        reply = self.fetcher.open(self.link.url, (0, self.asked - 1))
        self.link.settle(self.link.url, reply.url)
        head, kind = _approved(reply, self.limits)
        if reply.whole:
            return self._stream(reply, kind)
        if reply.total is None or reply.validator is None:
            # Without a strong validator, ranges of two requests may belong to two versions of the file.
            raise RangesUnusable("names no version of the file")
        version = Version(reply.validator, reply.total, part_size(reply.total, self.limits))
        return self._ranges(_Origin(self.link, self.deadline, version, head), kind, None if begun else reply)

    def _with_plain_get(self, failed: Exception | None) -> Delivery:
        """Request the file without a range. `failed`: the error of the ranges, unless they were only unusable.

        Parts that were copied by ranges stay until the whole file is stored, so the next call can use them.
        """
        self.fetcher.close()
        self.deadline.resume()
        self.asked = 0
        try:
            reply = self._open_whole()
            _, kind = _approved(reply, self.limits)
            self._require_another(reply)
            return self._stream(reply, kind)
        except Exception:
            if failed is not None and self.kept:
                raise failed from None
            raise

    def _open_whole(self) -> Reply:
        """Request the whole file, with a fresh link if the current one was valid only once."""
        url = self.link.given
        try:
            return self.fetcher.open(url)
        except OutputExpired:
            self.link.renew(self.link.url)
            if self.link.given == url:
                raise
        return self.fetcher.open(self.link.given)

    def _require_another(self, reply: Reply) -> None:
        """Do not fetch a whole file a second time if it was refused."""
        if self.refused is not None and self.refused == reply.total:
            raise OutputInvalid(self.reason)

    def _stream(self, reply: Reply, kind: str) -> Delivery:
        """Copy the body of one response; parts are uploaded while the next ones are read."""
        size = part_size(self.limits.max_bytes if reply.total is None else reply.total, self.limits)
        buffer = bytearray(size if reply.total is None else min(size, reply.total))
        count = reply.fill(memoryview(buffer))
        if count < len(buffer) or count == reply.total:
            del buffer[count:]
            container = examine(lambda start, length: bytes(buffer[start : start + length]), count)
            self._require_whole_video(reply, container, count)
            return self.store.put(buffer, kind, container.facts)
        upload = self.store.begin(kind, version=None, beside=self.kept)
        try:
            total, container = _pump(reply, buffer, upload, self.limits)
            self._require_whole_video(reply, container, total)
            upload.complete(total)
        except BaseException:
            _discard(upload)
            raise
        if self.kept:
            with contextlib.suppress(Exception):  # the file is complete without these parts
                self.store.clear()
        return _published(self.store, total, container.facts)

    def _ranges(self, origin: _Origin, kind: str, opened: Reply | None) -> Delivery:
        """Copy the missing parts, several at once."""
        version = origin.version
        parts = parts_of(version.total, self.limits)
        upload = self.store.resume(version, parts) or self.store.begin(kind, version)
        before = upload.stored
        try:
            missing = [part for part in parts if part.number not in before]
            _transfer(origin, missing, upload, self.fetcher, opened, self.limits)
            container = examine(lambda start, length: _read(origin, self.fetcher, start, length), version.total)
            _require_video(container)
        except DeadlineExceeded:
            if upload.stored == before:
                if not before:
                    _discard(upload)
                raise
            raise DeliveryIncomplete(
                f"{len(upload.stored)} of {len(parts)} parts are copied; the next call copies the rest."
            ) from None
        except (OutputInvalid, OutputRefused):
            self.kept = False
            _discard(upload)
            raise
        except Exception:
            self.kept = bool(upload.stored)
            if not self.kept:
                _discard(upload)
            raise
        upload.complete(version.total)
        return _published(self.store, version.total, container.facts)

    def _require_whole_video(self, reply: Reply, container: Container, size: int) -> None:
        """Verify a file that came in one answer of `size` bytes."""
        if size == self.asked:
            # A part that claims to be the whole file would have this size, too.
            raise RangesUnusable("sent exactly the requested size and calls it the whole file")
        try:
            _require_video(container)
        except OutputInvalid as error:
            if not reply.partial:
                self.refused, self.reason = size, error.message
            raise


def _require_video(container: Container) -> None:
    if not (container.whole and container.video):
        raise OutputInvalid(_NO_VIDEO if container.whole else _CUT_OFF)


def _approved(reply: Reply, limits: Limits) -> tuple[bytes, str]:
    """Return the first bytes and the content type of a body that may be copied, decided before anything is written."""
    if reply.total is not None and reply.total > limits.max_bytes:
        if reply.partial:  # this size may be wrong; a plain GET's describes the body itself
            raise RangesUnusable("names a size beyond the limit")
        raise OutputTooLarge(f"The file has {reply.total} bytes; the limit is {limits.max_bytes}.")
    head = reply.peek(SNIFF_BYTES)
    if not head:
        raise OutputInvalid(f"{reply.host} sent an empty file.")
    kind = content_type(head)
    if kind is None:
        raise OutputInvalid(f"{reply.host} sent {_described(head, reply.encoding)}, not an MP4, MOV or WebM video.")
    # These are a video's bytes, so nothing is encoded, whatever `Content-Encoding` says.
    return head, kind


def _described(head: bytes, encoding: str) -> str:
    if head.lstrip()[:1] in (b"<", b"{"):
        return "a web page or text"
    return "an encoded body although none was asked for" if encoding in _ENCODINGS else "something else"


def _pump(reply: Reply, buffer: bytearray, upload: Upload, limits: Limits) -> tuple[int, Container]:
    """Upload `buffer` and the rest of the body. Returns the size in bytes and the container."""

    def send(number: int, body: bytearray) -> bytearray:
        upload.put(number, body)
        return body

    size = count = len(buffer)
    depth = max(1, parts_in_flight(size, limits) - 1)  # one buffer is being filled
    total, number, capture = 0, 0, HeaderCapture()
    pending: deque[Future[bytearray]] = deque()
    with ThreadPoolExecutor(depth) as pool:
        while count:
            total, number = total + count, number + 1
            if total > limits.max_bytes:
                raise OutputTooLarge(f"The file has more than {limits.max_bytes} bytes, which is the limit.")
            del buffer[count:]
            capture.feed(buffer)
            pending.append(pool.submit(send, number, buffer))
            if count < size:
                break
            buffer = pending.popleft().result() if len(pending) > depth else bytearray(size)
            count = reply.fill(memoryview(buffer))
        for sent in pending:
            sent.result()
    return total, capture.examine()


def _read(origin: _Origin, fetcher: Fetcher, start: int, length: int) -> bytes:
    buffer = bytearray(length)
    origin.read(fetcher, start, memoryview(buffer))
    return bytes(buffer)


def _transfer(
    origin: _Origin, missing: list[Part], upload: Upload, fetcher: Fetcher, opened: Reply | None, limits: Limits
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
        with Fetcher(limits, origin.deadline) as own:
            work(own, next(queue, None), None)

    first = next(queue, None)
    if first is None or first.start != 0:
        opened = None
    workers = min(parts_in_flight(size, limits), len(missing))
    with ThreadPoolExecutor(max(1, workers)) as pool:
        futures = [pool.submit(work, fetcher, first, opened), *(pool.submit(work_alone) for _ in range(1, workers))]
        for future in as_completed(futures):
            if future.exception() is not None:
                origin.deadline.stop()
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        # Stopped workers report an exceeded deadline; the failed worker has the reason.
        raise next((error for error in errors if not isinstance(error, DeadlineExceeded)), errors[0])


def _discard(upload: Upload) -> None:
    # The original error matters more than a failed clean-up, and the bucket's lifecycle rule removes the rest.
    with contextlib.suppress(Exception):
        upload.abort()


def _published(store: Store, total: int, media: MediaFacts | None = None) -> Delivery:
    delivery = store.finished(media)
    if delivery is None or delivery.bytes != total:
        raise OutputInvalid("Something else wrote to the video's key while it was delivered.")
    return delivery
