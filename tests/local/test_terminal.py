"""Test lines for terminals of any width and encoding."""

from __future__ import annotations

import io
import sys

import pytest

from local import terminal


@pytest.mark.parametrize(
    ("text", "width", "line"),
    [
        ("short", 80, "short"),
        ("short", 5, "short"),
        ("s3://bucket/a/very/long/key.mp4", 15, "s3://b...ey.mp4"),
        ("s3://bucket/a/very/long/key.mp4", None, "s3://bucket/a/very/long/key.mp4"),
        ("鞋" * 10, 11, "鞋鞋...鞋鞋"),
        ("e\u0301" * 8, 8, "e\u0301" * 8),
        ("two\nlines\x1b[2J", None, r"two\nlines\x1b[2J"),
        ("abcdef", 2, ".."),
    ],
)
def test_a_text_becomes_one_line_that_fits(text: str, width: int | None, line: str) -> None:
    assert terminal.fit(text, width) == line


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_text_is_too_much_for_a_terminal(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    terminal.accept_all_text()
    print("ready … ü 鞋 \udcff", flush=True)
    assert written.getvalue().startswith(b"ready ")
