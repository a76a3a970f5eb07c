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
