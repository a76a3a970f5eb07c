"""The error table describes each class once, and foreign text comes out of the redaction harmless."""

from __future__ import annotations

import inspect
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.faults import Branch, Fault, Paid
from shared.genviral import errors
from shared.genviral.errors import TABLE, AccountFault, GenviralFault, RequestRefused, SubmissionUncertain
from shared.genviral.redaction import MAX_TEXT, redact, strings_of

BASES = {GenviralFault, AccountFault, RequestRefused}
CLASSES = {
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, GenviralFault) and member not in BASES
}


def test_the_table_has_one_row_for_each_class() -> None:
    faults = [row.fault for row in TABLE]
    assert set(faults) == CLASSES
    assert len(faults) == len(CLASSES)
    codes = [code for row in TABLE for code in row.codes]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("fault", sorted(CLASSES, key=lambda fault: fault.__name__), ids=lambda fault: fault.__name__)
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
