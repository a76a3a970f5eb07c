"""Write a video to S3: find what is already there, put it in one request, or resume a multipart upload.

A multipart upload keeps its parts but does not say which file they belong to. So a small object beside the key
(`<key>.partial`) records which upload has which version of the file, from the first part until the end.
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
"""Metadata of every object written here. It becomes visible only with a finished object, so it means: complete."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A file in the bucket.

    Attributes:
        bytes: Its size.
        crc32: Checksum of the whole file as S3 keeps it, base64 of four bytes; `None` if the store reports none.
        content_type: By its first bytes, not by what the origin said.
        etag: S3's, without quotes.
        version_id: In a versioned bucket.
        parts: Parts it was uploaded in; 1 for a plain put.
        media: What is in it; `None` if its header could not be read.
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
    """A file and its division into parts. Only parts of one version fit together."""

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
        self._note: Any = {"Bucket": bucket, "Key": f"{key}.partial"}
        self._begun = False
        self._labels: Any = {"Metadata": {**metadata, _MARK[0]: _MARK[1]}}
        if tags:
            self._labels["Tagging"] = urlencode(tags)

    def probe(self) -> tuple[bool, bool]:
        """Whether the key is there, and whether an unfinished upload of it is noted. One request for both."""
        listing = self._s3.list_objects_v2(Bucket=self._at["Bucket"], Prefix=self._at["Key"], MaxKeys=10)
        names = {entry["Key"] for entry in listing.get("Contents", ())}
        self._begun = self._note["Key"] in names
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
        """Write the whole file in one request. An unfinished upload that an earlier version left is removed."""
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
        """Start a multipart upload. Record it if it has a version, so that it can be resumed.

        Leftovers are removed, unless they are kept `beside` it.
        """
        created = self._s3.create_multipart_upload(
            **self._at,
            **self._labels,
            ContentType=content_type,
            ChecksumAlgorithm="CRC32",
            ChecksumType="FULL_OBJECT",
        )
        # Afterwards, because botocore repeats a call whose answer was lost, and then there are two.
        if not beside:
            self.clear(keep=created["UploadId"])
        if version is not None:
            note = {"upload_id": created["UploadId"], **asdict(version)}
            self._s3.put_object(**self._note, Body=json.dumps(note).encode(), ContentType="application/json")
            self._begun = True
        return Upload(
            self._s3, self._at, self._note if version else None, created["UploadId"], {}, self._before_publish
        )

    def clear(self, keep: str | None = None) -> None:
        """Remove what unfinished deliveries left: the last record, and all uploads of this key except `keep`."""
        listing = self._s3.list_multipart_uploads(Bucket=self._at["Bucket"], Prefix=self._at["Key"])
        for leftover in listing.get("Uploads", ()):
            if leftover["Key"] == self._at["Key"] and leftover["UploadId"] != keep:
                self._s3.abort_multipart_upload(**self._at, UploadId=leftover["UploadId"])
        if self._begun:
            self._s3.delete_object(**self._note)

    def resume(self, version: Version, parts: Sequence[Part]) -> Upload | None:
        """Return the recorded upload with its parts, if it is of exactly this version of the file."""
        if not self._begun:
            return None
        try:
            note = json.loads(self._s3.get_object(**self._note)["Body"].read())
            upload_id = str(note.pop("upload_id"))
            if note != asdict(version):
                return None
            stored = self._stored(upload_id, parts)
        except (self._s3.exceptions.NoSuchKey, self._s3.exceptions.NoSuchUpload):
            return None
        except (ValueError, KeyError, AttributeError):  # not a note of this version of the code
            return None
        return Upload(self._s3, self._at, self._note, upload_id, stored, self._before_publish)

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
        note: Any,
        upload_id: str,
        stored: dict[int, CompletedPartTypeDef],
        before_publish: Callable[[], None],
    ) -> None:
        self._s3 = s3
        self._at = at
        self._note = note
        self._upload_id = upload_id
        self._stored = stored
        self._before_publish = before_publish

    @property
    def stored(self) -> frozenset[int]:
        """Numbers of the parts that S3 has."""
        return frozenset(self._stored)

    def put(self, number: int, body: bytearray) -> None:
        """Upload one part. S3 compares the checksum and refuses the part if it differs."""
        crc32 = _crc32(body)
        part = self._s3.upload_part(
            **self._at, UploadId=self._upload_id, PartNumber=number, Body=_blob(body), ChecksumCRC32=crc32
        )
        self._stored[number] = _completed(number, part["ETag"], crc32)

    def complete(self, total: int) -> None:
        """Publish the object, if its parts add up to `total` bytes."""
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
        # A call that was given up but still runs may find that the next one has removed the upload.
        with contextlib.suppress(self._s3.exceptions.NoSuchUpload):
            self._s3.abort_multipart_upload(**self._at, UploadId=self._upload_id)
        self._forget()

    def _forget(self) -> None:
        if self._note is not None:
            self._s3.delete_object(**self._note)


def _blob(body: bytearray) -> Any:
    """Return a body as botocore sends it, without a copy. Its type stubs know only `bytes`."""
    return body


def _crc32(body: bytearray) -> str:
    """CRC-32 as S3 writes it. The one checksum that S3 keeps for a whole multipart object and that the standard library
    computes at memory speed; SHA-256 exists only per part. https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
    """
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def _completed(number: int, etag: str, crc32: str | None) -> CompletedPartTypeDef:
    part: CompletedPartTypeDef = {"PartNumber": number, "ETag": etag}
    if crc32 is not None:
        part["ChecksumCRC32"] = crc32
    return part
