"""Patch MiniStack so that the file must be the last field of a POST form to S3."""

from __future__ import annotations

from typing import Any

from ministack.services import s3

Parts = list[tuple[str, Any, Any, bytes]]

_parse = s3._parse_multipart_form


def install() -> None:
    """Ignore the fields after the file, as S3 does.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTForms.html#sigv4-HTTPPOSTFormFields
    """
    s3._parse_multipart_form = _parse_to_the_file


def _parse_to_the_file(*arguments: Any, **more: Any) -> Parts:
    parts: Parts = _parse(*arguments, **more)
    names = [name for name, *_ in parts]
    return parts[: names.index("file") + 1] if "file" in names else parts
