"""Write a video to S3: find an earlier delivery, put the file in one request, or resume a multipart upload.

A multipart upload does not record which file its parts belong to. So until it is complete, a small object beside the
key (`<key>.partial`) records the upload and the version of the file.
"""

from __future__ import annotations

import base64
import contextlib
import json
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from shared.delivery.media import MediaFacts, examine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

    from shared.delivery.limits import Part

_MARK = ("delivery", "1")
"""Metadata of every object written here. Only finished objects are visible, so it marks a complete one."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A file in the bucket.

    Attributes:
        bytes: Size.
        crc32: S3's checksum of the whole file, base64 of four bytes; `None` if the store reports none.
        content_type: Content type by the first bytes, not by the origin's header.
        etag: S3's ETag, without quotes.
        version_id: The version in a versioned bucket.
        parts: Number of uploaded parts; 1 for a plain put.
        media: Facts from its header; `None` if unreadable.
    """

    bytes: int
    crc32: str | None
    content_type: str
    etag: str
    version_id: str | None
    parts: int
    media: MediaFacts | None


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a file and its division into parts. Parts of different versions do not fit together."""

    validator: str
    total: int
    part_bytes: int


class Store:
    """One key of a bucket."""

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        key: str,
        metadata: Mapping[str, str],
        tags: Mapping[str, str],
        before_publish: Callable[[], None],
    ) -> None:
        self._s3 = s3
        self._before_publish = before_publish
        self._at: Any = {"Bucket": bucket, "Key": key}
        self._record: Any = {"Bucket": bucket, "Key": f"{key}.partial"}
        self._begun = False
        self._labels: Any = {"Metadata": {**metadata, _MARK[0]: _MARK[1]}}
        if tags:
            self._labels["Tagging"] = urlencode(tags)

    def probe(self) -> tuple[bool, bool]:
        """Return whether the key exists, and whether an unfinished upload is recorded. One request for both."""
        listing = self._s3.list_objects_v2(Bucket=self._at["Bucket"], Prefix=self._at["Key"], MaxKeys=10)
        names = {entry["Key"] for entry in listing.get("Contents", ())}
        self._begun = self._record["Key"] in names
        return self._at["Key"] in names, self._begun

    def finished(self, media: MediaFacts | None = None) -> Delivery | None:
        """Return the object that an earlier delivery of the same video finished; `None` for any other object."""
        head = self._s3.head_object(**self._at, ChecksumMode="ENABLED")
        if not self._labels["Metadata"].items() <= head["Metadata"].items():
            return None
        size, etag = head["ContentLength"], head["ETag"].strip('"')
        return Delivery(
            bytes=size,
            crc32=head.get("ChecksumCRC32"),
            content_type=head["ContentType"],
            etag=etag,
            version_id=head.get("VersionId"),
            parts=int(etag.partition("-")[2] or 1),
            media=media or examine(self._read, size).facts,
        )

    def _read(self, start: int, length: int) -> bytes:
        return self._s3.get_object(**self._at, Range=f"bytes={start}-{start + length - 1}")["Body"].read()

    def put(self, body: bytearray, content_type: str, media: MediaFacts | None) -> Delivery:
        """Write the whole file in one request, after removing a recorded unfinished upload."""
        if self._begun:
            self.clear()
        crc32 = _crc32(body)
        self._before_publish()
        put = self._s3.put_object(
            **self._at,
            **self._labels,
            Body=bytes(body),
            ContentType=content_type,
            ChecksumAlgorithm="CRC32",
            ChecksumCRC32=crc32,
        )
        return Delivery(
            bytes=len(body),
            crc32=crc32,
            content_type=content_type,
            etag=put["ETag"].strip('"'),
            version_id=put.get("VersionId"),
            parts=1,
            media=media,
        )

    def begin(self, content_type: str, version: Version | None, *, beside: bool = False) -> Upload:
        """Start a multipart upload, and record it for a resume if it has a version.

        Leftovers are removed, unless `beside` keeps them.
        """
        created = self._s3.create_multipart_upload(
            **self._at,
            **self._labels,
            ContentType=content_type,
            ChecksumAlgorithm="CRC32",
            ChecksumType="FULL_OBJECT",
        )
        # Clear afterwards: botocore repeats a call whose response was lost, which leaves a second upload.
        if not beside:
            self.clear(keep=created["UploadId"])
        if version is not None:
            record = {"upload_id": created["UploadId"], **asdict(version)}
            self._s3.put_object(**self._record, Body=json.dumps(record).encode(), ContentType="application/json")
            self._begun = True
        return Upload(
            self._s3, self._at, self._record if version else None, created["UploadId"], {}, self._before_publish
        )

    def clear(self, keep: str | None = None) -> None:
        """Remove leftovers of unfinished deliveries: the record, and all uploads of this key except `keep`."""
        listing = self._s3.list_multipart_uploads(Bucket=self._at["Bucket"], Prefix=self._at["Key"])
        for leftover in listing.get("Uploads", ()):
            if leftover["Key"] == self._at["Key"] and leftover["UploadId"] != keep:
                self._s3.abort_multipart_upload(**self._at, UploadId=leftover["UploadId"])
        if self._begun:
            self._s3.delete_object(**self._record)

    def resume(self, version: Version, parts: Sequence[Part]) -> Upload | None:
        """Return the recorded upload with its parts, if it has exactly this version of the file."""
        if not self._begun:
            return None
        try:
            record = json.loads(self._s3.get_object(**self._record)["Body"].read())
            upload_id = str(record.pop("upload_id"))
            if record != asdict(version):
                return None
            stored = self._stored(upload_id, parts)
        except (self._s3.exceptions.NoSuchKey, self._s3.exceptions.NoSuchUpload):
            return None
        except (ValueError, KeyError, AttributeError):  # not a record of this version of the code
            return None
        return Upload(self._s3, self._at, self._record, upload_id, stored, self._before_publish)

    def _stored(self, upload_id: str, parts: Sequence[Part]) -> dict[int, CompletedPartTypeDef]:
        lengths = {part.number: part.length for part in parts}
        pages = self._s3.get_paginator("list_parts").paginate(**self._at, UploadId=upload_id)
        return {
            listed["PartNumber"]: _completed(listed["PartNumber"], listed["ETag"], listed.get("ChecksumCRC32"))
            for page in pages
            for listed in page.get("Parts", ())
            if listed["Size"] == lengths.get(listed["PartNumber"])
        }


class Upload:
    """A multipart upload in progress. `put` may be called from several threads."""

    def __init__(
        self,
        s3: S3Client,
        at: Any,
        record: Any,
        upload_id: str,
        stored: dict[int, CompletedPartTypeDef],
        before_publish: Callable[[], None],
    ) -> None:
        self._s3 = s3
        self._at = at
        self._record = record
        self._upload_id = upload_id
        self._stored = stored
        self._before_publish = before_publish

    @property
    def stored(self) -> frozenset[int]:
        """The numbers of the parts in S3."""
        return frozenset(self._stored)

    def put(self, number: int, body: bytearray) -> None:
        """Upload one part. S3 rejects it if the checksum differs."""
        crc32 = _crc32(body)
        part = self._s3.upload_part(
            **self._at, UploadId=self._upload_id, PartNumber=number, Body=_blob(body), ChecksumCRC32=crc32
        )
        self._stored[number] = _completed(number, part["ETag"], crc32)

    def complete(self, total: int) -> None:
        """Publish the object. S3 rejects this if its parts do not add up to `total` bytes."""
        self._before_publish()
        self._s3.complete_multipart_upload(
            **self._at,
            UploadId=self._upload_id,
            MultipartUpload={"Parts": [self._stored[number] for number in sorted(self._stored)]},
            MpuObjectSize=total,
        )
        self._forget()

    def abort(self) -> None:
        """Remove the upload and its parts."""
        # An abandoned call that still runs may find that its successor has removed the upload.
        with contextlib.suppress(self._s3.exceptions.NoSuchUpload):
            self._s3.abort_multipart_upload(**self._at, UploadId=self._upload_id)
        self._forget()

    def _forget(self) -> None:
        if self._record is not None:
            self._s3.delete_object(**self._record)


def _blob(body: bytearray) -> Any:
    """Return the body untyped, to avoid a copy: botocore sends it, but its stubs accept only `bytes`."""
    return body


def _crc32(body: bytearray) -> str:
    """Return the CRC-32 as S3 writes it: S3 keeps it for a whole multipart object, and the standard library computes it
    at memory speed. SHA-256 exists only per part. https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
    """
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def _completed(number: int, etag: str, crc32: str | None) -> CompletedPartTypeDef:
    part: CompletedPartTypeDef = {"PartNumber": number, "ETag": etag}
    if crc32 is not None:
        part["ChecksumCRC32"] = crc32
    return part
