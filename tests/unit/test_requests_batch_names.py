"""Test that a batch's name decides whether it runs: a file named `.check`, in any altered form, never does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jobs.errors import BatchUnreadable
from shared.requests import batches
from shared.requests.batch_names import Purpose, checked_key, is_check, name_of, purpose_of

CHECKS = {
    "as documented": "a.check.csv",
    "capitals": "a.CHECK.CSV",
    "some capitals": "a.Check.csv",
    "a browser's second download": "a.check (1).csv",
    "a browser's second download without a blank": "a.check(2).csv",
    "Windows' copy": "a.check - Copy.csv",
    "Windows' second copy": "a.check - Copy (2).csv",
    "German Windows' copy": "a.check - Kopie.csv",
    "macOS' copy": "a.check copy.csv",
    "macOS' second copy": "a.check copy 2.csv",
    "Linux' copy": "a.check (another copy).csv",
    "Linux' third copy": "a.check (3rd copy).csv",
    "a number": "a.check_1.csv",
    "a number at the word": "a.check2.csv",
    "the suffix twice": "a.check.csv.csv",
    "the suffix twice, and a copy": "a.check.csv (1).csv",
    "both suffixes": "a.check.jsonl.csv",
    "a blank behind": "a.check .csv",
    "a blank before": "a. check.csv",
    "a dot too many": "a.check..csv",
    "the word twice": "a.check.check.csv",
}
NEAR = {
    "no name": "check.csv",
    "a dash for the dot": "a-check.csv",
    "an underscore for the dot": "a_check.csv",
    "a blank for the dot": "a check.csv",
    "no dot": "acheck.csv",
    "in front": "check.a.csv",
    "hidden, in front": ".check.a.csv",
    "more behind": "a.check.final.csv",
    "a version behind": "a.check v2.csv",
    "a full-width dot": "a\uff0echeck.csv",
    "full-width letters": "a.\uff43\uff48\uff45\uff43\uff4b.csv",
    "a Cyrillic letter": "a.\u0441heck.csv",
    "an invisible character": "a.che\u200bck.csv",
    "a mark on a letter": "a.ch\u00e9ck.csv",
    "percent-encoded": "a%2Echeck.csv",
    "a form's encoding": "a.check%20(1).csv",
    "letters swapped": "a.chekc.csv",
    "a letter missing": "a.chck.csv",
    "a letter more": "a.checks.csv",
    "another form of the word": "a.checked.csv",
    "a dot missing behind": "a.checkcsv.csv",
    "letters swapped, a dash for the dot": "boats-chekc.csv",
    "a letter missing, a blank for the dot": "a chek.csv",
    "letters swapped, alone": "chekc.csv",
    "letters swapped, a capital for the dot": "boatsChekc.csv",
    "another form of the word, an underscore for the dot": "boats_checked.csv",
    "many": "boats checks.csv",
    "many, alone": "checks.csv",
    "no dot, a version behind": "acheck-v2.csv",
    "no dot, a copy": "acheckcopy.csv",
    "a word that begins with it": "checkonly.csv",
    "a word that ends in it, which costs a rejection": "paycheck-ads.csv",
    "a word that goes on, which costs a rejection": "checkout.csv",
    "British spelling": "a.cheque.csv",
    "a digit for a letter": "a.ch3ck.csv",
    "a blank within": "a.che ck.csv",
    "a folder of that name": "check/a.csv",
    "a folder with a check's name": "boats.check/boats.csv",
    "a folder with a check's whole name": "boats.check.csv/boats.csv",
    "a folder with a dash for the dot": "boats-check/boats.csv",
    "a folder with a copy's name": "boats.CHECK (1)/boats.csv",
    "a folder called after the file": "check.csv/boats.csv",
    "a folder for what is to be checked": "to check/boats.csv",
    "a folder with many": "checks/a.csv",
    "a folder further out": "2026/chekc/spring/a.csv",
}
RUNS = ("a.csv", "a (1).csv", "a - Copy.csv", "2026/v1.0 final.jsonl", "chess.csv", "Czech ads.csv", "deck/chef.csv")


@pytest.mark.parametrize("kind", CHECKS)
def test_a_check_in_any_spelling_is_a_check_of_the_batch(kind: str) -> None:
    key = f"batches/{CHECKS[kind]}"
    assert (purpose_of(key), is_check(key), name_of(key)) == (Purpose.CHECK, True, "a")
    assert checked_key(key).lower() == "batches/a.csv"


@pytest.mark.parametrize("kind", NEAR)
def test_a_name_that_is_near_to_a_checks_is_rejected_with_the_reason(kind: str) -> None:
    key = f"batches/{NEAR[kind]}"
    assert purpose_of(key) is Purpose.UNCLEAR
    with pytest.raises(BatchUnreadable, match="resembles that of a check but is not one, so nothing was started"):
        batches.read(b"model_id\nm\n", key)


@pytest.mark.parametrize("name", RUNS)
def test_other_names_are_run(name: str) -> None:
    assert purpose_of(f"batches/{name}") is Purpose.RUN


@given(
    st.text(max_size=10),
    st.text(" ()-_.0123456789copyCHEKcheck\u200b\uff0e", max_size=20),
    st.sampled_from((".csv", ".jsonl")),
)
def test_whatever_stands_behind_the_word_nothing_is_run(name: str, behind: str, suffix: str) -> None:
    assert purpose_of(f"batches/{name}.check{behind}{suffix}") is not Purpose.RUN
