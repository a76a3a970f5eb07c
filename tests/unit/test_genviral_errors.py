"""Test that the error table describes each class once, and that redaction makes foreign text harmless."""

from __future__ import annotations

import inspect
import json
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.faults import Branch, Fault, Paid
from shared.genviral import errors
from shared.genviral.errors import TABLE, AccountFault, GenviralFault, RequestRefused, SubmissionUncertain
from shared.genviral.redaction import MAX_TEXT, redact, strings_of

BASES = {GenviralFault, AccountFault, RequestRefused}
CLASSES: set[type[GenviralFault]] = {
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, GenviralFault) and member not in BASES
}
BY_NAME = sorted(CLASSES, key=lambda fault: fault.__name__)


def test_the_table_has_one_row_for_each_class() -> None:
    faults = [row.fault for row in TABLE]
    assert set(faults) == CLASSES
    assert len(faults) == len(CLASSES)
    codes = [code for row in TABLE for code in row.codes]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("fault", BY_NAME, ids=lambda fault: fault.__name__)
def test_each_error_reads_well_in_a_cause(fault: type[Fault]) -> None:
    document = json.loads(str(fault("It happened.")))
    assert document["error"] == fault.__name__
    assert document["code"] == fault.code
    assert document["paid"] in {paid.value for paid in Paid}
    assert document["advice"].endswith(".")
    assert fault.__name__ in (errors.__doc__ or "")


def test_an_error_that_may_have_cost_money_is_never_rejected_or_held() -> None:
    branches = {fault.__name__: fault.branch for fault in CLASSES if fault.paid is Paid.UNKNOWN}
    assert branches == {"SubmissionUncertain": Branch.UNCERTAIN, "SubmissionUnconfirmed": Branch.RETRY}
    assert issubclass(errors.SubmissionUnconfirmed, SubmissionUncertain)


@pytest.mark.parametrize(
    ("text", "private", "shown"),
    [
        ("The prompt 'a red shoe on a table' is blocked", ["a red shoe on a table"], "The prompt '[…]' is blocked"),
        ("Blocked: A red shoe on a tab...", ["A red shoe on a table, slowly turning"], "Blocked: […]..."),
        ("line one\nline two", ["line  one\tline two"], "[…]"),
        ("see https://h.example/p?X-Amz-Signature=1 now", [], "see https://h.example/p now"),
        ("see HTTPS://h.example/p#access_token=1", [], "see HTTPS://h.example/p"),
        ("<html><b>502</b> Bad\x00 Gateway\ud800</html>", [], "502 Bad Gateway"),
        ("a <b>red shoe on</b> a table", ["a red shoe on a table"], "[…]"),
        ("aspect 9:16 needs duration < 5", ["9:16", "5"], "aspect 9:16 needs duration < 5"),
    ],
)
def test_redaction(text: str, private: list[str], shown: str) -> None:
    assert redact(text, private) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"see https:\/\/h.example\/p?sig=abc now", r"see https:\/\/h.example\/p now"),
        ("see https%3A%2F%2Fh.example%2Fp%3Fsig%3Dabc now", "see https%3A%2F%2Fh.example%2Fp now"),
        (r"https:\u002f\u002fh.example\u002fp\u003fsig=abc", r"https:\u002f\u002fh.example\u002fp"),
        ("no b.s3.amazonaws.com/key?X-Amz-Signature=abc", "no b.s3.amazonaws.com/key"),
        ("see //h.example/p?sig=abc now", "see //h.example/p now"),
        ("see https://user:word@h.example/p now", "see https://h.example/p now"),
        ("bad X-Amz-Signature=abc&b=2", "bad X-Amz-Signature=[…]&b=2"),
        ("bad sig%3Dabc%26se%3D2", "bad sig%3D[…]%26se%3D2"),
        ('bad {"token": "abc", "x": 1}', 'bad {"token": "[…]", "x": 1}'),
        (r"bad {\"accessToken\":\"abc\"}", r"bad {\"accessToken\":\"[…]\"}"),
        ("bad api_key=abc;x", "bad api_key=[…];x"),
        ("Authorization: Bearer abcdefgh.ijkl end", "Authorization: Bearer […] end"),
        ("invalid token: expected a string", "invalid token: expected a string"),
        ("which one? a/b? monkey=3", "which one? a/b? monkey=3"),
    ],
)
def test_what_opens_a_link_is_hidden_in_every_spelling(text: str, shown: str) -> None:
    assert redact(text) == shown


SECRET = "s3cr3tV4lueABCDEF0123456789"
SIGNED = f"https://h.example/p?X-Amz-Signature={SECRET}&b=2"
HALF = f"{SECRET[:14]}{{}}{SECRET[14:]}"
NAMES = [
    "sig",
    "Signature",
    "X-Goog-Signature",
    "X-Amz-Credential",
    "Policy",
    "Key-Pair-Id",
    "CloudFront-Policy",
    "AccountKey",
    "AWSAccessKeyId",
    "GoogleAccessId",
    "GENVIRAL_API_KEY",
    "awsSecretAccessKey",
    "client_secret",
    "refreshToken",
    "hmac",
    "jwt",
]
SEPARATORS = [" = ", "\t=\t", "\u200b=", "\uff1d", "='", '="', "=`", ":=", "%3D%22", "\\x3d"]
PLACES = [
    r"h.example",
    r"h.example/p",
    r"//h/p",
    r"10.0.0.1/p",
    r"[::1]:8080/p",
    r"wss://h/p",
    r"localhost:9000/p",
    r"https:\\h.example\p",
    r"s3://b/k",
]
SPELLINGS = [
    quote(SIGNED, safe=""),
    quote(quote(SIGNED, safe=""), safe=""),
    quote(SIGNED, safe="").lower().replace(SECRET.lower(), SECRET),
    json.dumps(json.dumps({"url": SIGNED, "sig": SECRET})),
    json.dumps(SIGNED).replace("/", "\\/"),
    *(f"{place}?k={SECRET}" for place in PLACES),
    *(f"https://h.example/p{query}={SECRET}" for query in ("#k", ";sig", "&#63;k", "\uff1fk", "%3Fk", "\\u003fk")),
    *(f"{name}={SECRET}" for name in NAMES),
    *(f"sig{equals}{SECRET}" for equals in SEPARATORS),
    f"a=1&amp;X-Amz-Signature={SECRET}",
    f"a=1\\u0026X-Amz-Signature\\u003d{SECRET}",
    f"a%3D1%26sig%3D{SECRET}",
    f"a%253D1%2526sig%253D{SECRET}",
    f"a=1&amp;amp;sig&#x3d;{SECRET}",
    f"'sig' => '{SECRET}'",
    f':sig=>"{SECRET}"',
    f"&quot;sig&quot;: &quot;{SECRET}&quot;",
    f"X-Amz-Sig\u00adnature={SECRET}",
    f"X-Amz-Signa<b></b>ture={SECRET}",
    f"<b>sig</b>={SECRET}",
    f"<Signature>{SECRET}</Signature>",
    f'<ns:Token a="b">{SECRET}</ns:Token>',
    f'<a sig="{SECRET}"/>',
    *(f"{header}: {SECRET}" for header in ("X-Amz-Signature", "x-amz-security-token", "x-api-key", "Authorization")),
    *(f"Authorization: {scheme} {SECRET}" for scheme in ("Bearer", "Basic", "Token")),
    f"Authorization: AWS4-HMAC-SHA256 Credential={SECRET}/20260101/s3, SignedHeaders=host, Signature={SECRET}",
    f"Cookie: session={SECRET}; b={SECRET}",
    f"Set-Cookie: CloudFront-Signature={SECRET}; Path=/",
    f"Bearer%20{SECRET}",
    *(f"{user}{SECRET}@h.example/p" for user in ("https://u:", "https://u:p@", "ftp://u:", "u:")),
    quote(f"https://u:{SECRET}@h.example/p", safe=""),
    f"https://u:{SECRET}%40h.example/p",
    *(f"https://h.example/p?sig={HALF.format(wrap)}" for wrap in ("\n", "\r\n  ", "=\n", "\\n", "\\r\\n")),
    f"https://h.example/p?a=1&X-Amz-\nSignature={SECRET}",
    f"Signature:\n  {SECRET}",
    *(f"{place}?h={SECRET}" for place in ("h.рф/x", "h.xn--p1ai/x", "storage/x", "/bucket/key", "GET /k")),
    *(f"https://h/x{query}h={SECRET}" for query in ("=3F", "%u003f", "\\u{3f}", "\\U0000003f", "\n?", "\n  ?")),
    *(f"{name}{SECRET}" for name in ("token : ", "token: '", "sig[]=", "token[0]=", "params[token]=", "auth_key=")),
    *(f"{name}={SECRET}" for name in ("%74oken", "s%69g", "%2573ig", "t\\u006fken", "t\\x6fken", "\uff54oken")),
    *(f'{{"name":"token","value":{quoted}}}' for quoted in (f'"{SECRET}"', f'b"{SECRET}"')),
    f"{{'token': b'{SECRET}'}}",
    f'<input name="token" value="{SECRET}">',
    f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.{SECRET}",
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_no_spelling_of_a_secret_comes_through(text: str) -> None:
    shown = redact(f"bad {text} now")
    assert SECRET[:14] not in shown
    assert SECRET[14:] not in shown
    assert shown.startswith("bad")


@pytest.mark.parametrize(
    "sentence",
    [
        "The file blocked by policy: inappropriate-content",
        "max_tokens=512 is too many; keyframes=3",
        "field a=5\nPlease try again in 30 seconds",
        "ratio 16:9@30fps and 4/3? No",
        "a&b, R&D; 5 < 6 and x = 7",
        "The signature does not match",
    ],
)
def test_a_sentence_without_secrets_stays_as_it_is(sentence: str) -> None:
    assert redact(sentence) == " ".join(sentence.split())


@given(st.text(), st.text(min_size=8), st.text())
def test_a_private_text_never_shows(before: str, private: str, after: str) -> None:
    assume(len(" ".join(private.split())) >= 8)
    shown = redact(before + private + after, [private])
    assert private not in shown
    assert len(shown) <= MAX_TEXT
    assert not shown or shown.isprintable()


def test_strings_are_found_at_any_depth() -> None:
    document: object = "deep"
    for _ in range(5_000):
        document = {"inner": [document]}
    assert list(strings_of({"top": document, "number": 1})) == ["deep"]
