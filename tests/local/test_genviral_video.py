"""Test that the stand-in's videos are real and match the request. No sockets here."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from local.genviral import payload as payloads
from local.genviral.errors import Refusal
from local.genviral.model_list import MAX_SIDE
from local.genviral.render import Cancelled, Clip, render, wrap

if TYPE_CHECKING:
    from pathlib import Path


def clip(**changes: object) -> Clip:
    facts = {"size": (162, 288), "seconds": 1.0, "fps": 12.0, "sound": False, "prompt": "A boat", "caption": "test"}
    return Clip(**{**facts, "picture": None, **changes})  # type: ignore[arg-type]  # the values are mixed


@pytest.mark.parametrize("seconds", [1.0, 2.35])
@pytest.mark.parametrize("fps", [8.0, 23.976, 60.0])
@pytest.mark.parametrize("sound", [True, False])
def test_a_video_is_as_long_as_fast_and_as_loud_as_asked(
    tmp_path: Path, seconds: float, fps: float, sound: bool
) -> None:
    file = tmp_path / "video.mp4"
    render(clip(seconds=seconds, fps=fps, sound=sound), file)

    with av.open(str(file)) as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (video.width, video.height) == (162, 288)
        assert float(video.average_rate) == pytest.approx(fps, abs=0.01)
        assert container.duration / av.time_base == pytest.approx(seconds, abs=0.1)
        assert sum(1 for _ in container.decode(video)) == round(seconds * fps)
        assert [(a.codec_context.name, a.codec_context.layout.name) for a in container.streams.audio] == (
            [("aac", "stereo")] if sound else []
        )
    content = file.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "playable before it is complete"


def test_sound_can_be_heard(tmp_path: Path) -> None:
    render(clip(sound=True), tmp_path / "video.mp4")
    with av.open(str(tmp_path / "video.mp4")) as container:
        loudest = max(max(abs(v) for v in memoryview(frame.planes[0]).cast("f")) for frame in container.decode(audio=0))
    assert 0.05 < loudest < 0.9


def frames(file: Path) -> list[Image.Image]:
    with av.open(str(file)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def test_the_reference_picture_fills_the_frame_and_moves(tmp_path: Path) -> None:
    picture = Image.new("RGB", (300, 200), (200, 20, 20))
    picture.paste((20, 20, 200), (150, 0, 300, 200))
    picture.save(tmp_path / "picture.png")
    render(clip(picture=tmp_path / "picture.png"), tmp_path / "video.mp4")

    first, *_, last = frames(tmp_path / "video.mp4")
    red, green, blue = first.getpixel((10, 20))  # type: ignore[misc]  # RGB pixels are tuples
    assert red > 150 > 80 > max(green, blue)
    red, green, blue = first.getpixel((first.width - 10, 20))  # type: ignore[misc]  # RGB pixels are tuples
    assert blue > 150 > 80 > max(red, green)
    edges = [sum(frame.getpixel((x, 20))[0] > 110 for x in range(frame.width)) for frame in (first, last)]  # type: ignore[index]  # RGB pixels are tuples
    assert edges[0] != edges[1]


@pytest.mark.parametrize(
    ("mode", "size"), [("P", (1, 1)), ("LA", (3, 900)), ("RGBA", (900, 3)), ("CMYK", (40, 40)), ("I;16", (9, 9))]
)
def test_any_kind_of_picture_will_do(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    Image.new(mode, size).save(tmp_path / "picture.tif")
    render(clip(picture=tmp_path / "picture.tif"), tmp_path / "video.mp4")
    assert len(frames(tmp_path / "video.mp4")) == 12


def test_the_prompt_is_shown_in_the_lower_part_only(tmp_path: Path) -> None:
    Image.new("RGB", (50, 50), (90, 90, 90)).save(tmp_path / "grey.png")
    shown = {}
    for prompt in ("", "A paper boat"):
        render(clip(prompt=prompt, picture=tmp_path / "grey.png", size=(486, 864)), tmp_path / "video.mp4")
        shown[prompt] = frames(tmp_path / "video.mp4")[5]

    difference = ImageChops.difference(shown[""], shown["A paper boat"]).convert("L")
    assert difference.crop((0, 0, 486, 432)).getextrema()[1] < 10  # type: ignore[operator]  # one band of grey
    assert difference.crop((0, 432, 486, 864)).getextrema()[1] > 100  # type: ignore[operator]  # one band of grey


def test_without_a_picture_colours_drift(tmp_path: Path) -> None:
    render(clip(), tmp_path / "video.mp4")
    first, *_, last = frames(tmp_path / "video.mp4")
    top = (0, 0, first.width, first.height // 2)
    assert ImageStat.Stat(first.crop(top)).stddev > [5, 5, 5]
    assert ImageStat.Stat(ImageChops.difference(first.crop(top), last.crop(top))).sum > [5000, 5000, 5000]


def test_a_large_photograph_that_lies_on_its_side_is_shown_upright(tmp_path: Path) -> None:
    photograph = Image.new("RGB", (4000, 3000), (20, 20, 200))
    photograph.paste((200, 20, 20), (0, 0, 2000, 3000))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: what is stored on the left belongs at the top
    photograph.save(tmp_path / "photograph.jpg", exif=exif)
    render(clip(picture=tmp_path / "photograph.jpg"), tmp_path / "video.mp4")

    first = frames(tmp_path / "video.mp4")[0]
    above, below = first.getpixel((81, 100)), first.getpixel((81, 160))
    assert above[0] > 150 > 80 > above[2]  # type: ignore[index]  # RGB pixels are tuples
    assert below[2] > 120 > 80 > below[0]  # type: ignore[index]  # RGB pixels are tuples


def test_a_video_stops_in_the_middle_on_request(tmp_path: Path) -> None:
    answers = iter([False, False, True])
    with pytest.raises(Cancelled):
        render(clip(), tmp_path / "video.mp4", lambda: next(answers))


@given(text=st.text(max_size=600), width=st.integers(5, 60))
@settings(max_examples=60, deadline=None)
def test_text_of_any_kind_is_wrapped_into_six_lines_at_most(text: str, width: int) -> None:
    lines = wrap(text, width, len)
    assert len(lines) <= 6
    assert all(0 < len(line) <= width and line.isprintable() for line in lines)
    shown = "".join(lines).replace(" ", "")
    everything = "".join(c for c in text if c.isprintable()).replace(" ", "")
    assert shown == everything or everything.startswith(shown.removesuffix("…"))


@given(width=st.integers(1, 40), height=st.integers(1, 40), resolution=st.sampled_from(["480p", "720p", "1080p"]))
@settings(deadline=None)
def test_every_size_has_exactly_the_requested_ratio(width: int, height: int, resolution: str) -> None:
    body = {"model_id": "google/veo-3", "params": {"aspect_ratio": f"{width}:{height}", "resolution": resolution}}
    payload = payloads.Payload.model_validate(body)
    try:
        payloads.check_against_model(payload)
    except Refusal:
        assert max(payload.size) > MAX_SIDE
        return
    ratio = Fraction(width, height)
    assert Fraction(*payload.size) == ratio
    assert all(side % 2 == 0 for side in payload.size)
    nearest = min(ratio.numerator, ratio.denominator)
    assert abs(min(payload.size) - int(resolution.removesuffix("p"))) <= nearest
