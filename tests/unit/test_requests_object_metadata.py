"""Test that metadata from S3 is decoded as it was meant, whatever encoding S3 uses."""

from __future__ import annotations

from email.header import Header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.requests.object_metadata import decoded


@pytest.mark.parametrize(
    ("returned", "meant"),
    [
        ("Film noir", "Film noir"),
        ("", ""),
        ("=?UTF-8?B?R3LDvMOfIEdvdHQ=?=", "Grüß Gott"),
        ("=?UTF-8?Q?Gr=C3=BC=C3=9F_Gott?=", "Grüß Gott"),
        ("=?utf-8?q?a=5Fb=3F=3D_=F0=9F=91=91?=", "a_b?= 👑"),
        # Values that S3 has returned: localstack/localstack, tests/aws/services/s3/test_s3.snapshot.json
        ("=?UTF-8?Q?test=5F=E2=80=94=5Ffile%E2%80%94=5F=C3=A9=5F2=3F.pdf?=", "test_—_file%E2%80%94_é_2?.pdf"),
        ("=?UTF-8?B?77+977+977+9?=", "\ufffd\ufffd\ufffd"),
        # A header in UTF-8, read byte by byte. https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
        ("=?UTF-8?B?w4PChE3Dg8KEWsODwpXDg8KRIFMz?=", "ÄMÄZÕÑ S3"),
        ("=?UTF-8?Q?f=C3=83=C2=BCr?=", "für"),
        # Several words, with text between them and without, and a character that is cut in two.
        ("=?UTF-8?Q?Gr=C3=BC?= =?UTF-8?Q?=C3=9F?= dich =?UTF-8?B?w6k=?=", "Grüß dich é"),
        ("=?UTF-8?B?8J+Y?=\r\n =?utf-8?B?gA==?=", "😀"),
        ("=?ISO-8859-1?Q?caf=E9_?= =?UTF-8?Q?=C3=A9?=", "café é"),
        ("=?ISO-2022-JP?B?GyRCNFgbKEI=?=", "関"),
        ("=?windows-1252?Q?=80_5?=", "€ 5"),
        ("=?UTF-8*en?Q?=C3=A9?=", "é"),
        ("=?UTF-8?B?w6k?=", "é"),  # without its padding
        # Text that only appears to be decoded twice.
        ("=?UTF-8?Q?Voil=C3=A0=C2=A0=C2=BB?=", "Voilà\xa0»"),
        ("=?UTF-8?Q?N=C3=83O?=", "NÃO"),
    ],
)
def test_words_are_decoded(returned: str, meant: str) -> None:
    assert decoded(returned) == meant


@pytest.mark.parametrize(
    "value",
    [
        "=?UTF-8?B?***?=",
        "=?UTF-8?B?w?=",
        "=?UTF-8?Q?a=Z1?=",
        "=?UTF-8?Q?=FF?=",
        "=?UTF-8?X?abc?=",
        "=?no-such-charset?Q?abc?=",
        "=?hex?Q?6162?=",
        "=?UTF-8?Q??=",
        "=?UTF-8?Q?a b?=",
        "=?UTF-8?Q?abc",
        "=?UTF-8?Q?=FF?= =?UTF-8?Q?=C3=A9?=",
        "2 =? 3",
        "=?" * 500,
    ],
)
def test_what_is_malformed_is_left_alone(value: str) -> None:
    assert decoded(value) == value


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60), st.sampled_from(["b", "q"]))
def test_what_the_standard_library_wraps_is_unwrapped(text: str, encoding: str) -> None:
    from email.charset import BASE64, QP, Charset

    charset = Charset("utf-8")
    charset.header_encoding = BASE64 if encoding == "b" else QP
    if text.strip() != text or text.splitlines() != [text] or not text.isprintable() or _twice(text):
        return
    assert decoded(Header(text, charset, maxlinelen=40).encode()) == text


def _twice(text: str) -> bool:
    """Tell whether a text looks like the bytes of another one."""
    try:
        return text.encode("latin-1").decode() != text
    except UnicodeError:
        return False


@given(st.text(max_size=80))
def test_no_value_is_too_strange(value: str) -> None:
    decoded(value)
    decoded(f"=?UTF-8?Q?{value}?= =?{value}?B?{value}?=")
