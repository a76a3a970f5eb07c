"""Render a description of a clip to a playable MP4: H.264 yuv420p, AAC stereo, index at the front.

The same `Clip` always gives the same video.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

import av
from PIL import Image, ImageDraw, ImageFont, ImageOps

if TYPE_CHECKING:
    from pathlib import Path

_SAMPLE_RATE = 48_000
_FADE_SECONDS = 0.6
_OVERSCAN = 1.2
"""Factor by which a picture is larger than the frame, so that the camera can move."""
_CLOSEST = 1.02
_RIM = 179
"""Value of Pillow's radial gradient in the middle of its sides, where a light must end; 255 in the corners."""
_MAX_LINES = 6

_Colour = tuple[int, int, int]
_Painter = Callable[[float], Image.Image]
"""Progress 0 to 1 → the frame without its text."""

_PALETTES: tuple[tuple[_Colour, ...], ...] = (
    ((14, 18, 48), (88, 80, 236), (236, 72, 153), (56, 189, 248)),
    ((12, 32, 38), (16, 185, 129), (56, 189, 248), (250, 204, 21)),
    ((38, 14, 30), (244, 63, 94), (251, 146, 60), (168, 85, 247)),
    ((16, 24, 40), (59, 130, 246), (45, 212, 191), (192, 132, 252)),
    ((32, 20, 12), (249, 115, 22), (234, 179, 8), (225, 29, 72)),
)


class Cancelled(Exception):
    """The stand-in is shutting down during a rendering."""


@dataclass(frozen=True)
class Clip:
    """All inputs of a rendering. Equal clips give the same video.

    Attributes:
        size: Width and height in pixels, both even.
        seconds: Length.
        fps: Frames per second.
        prompt: The displayed text.
        caption: A small line below it.
        picture: The picture to animate, or None for drifting colours.
    """

    size: tuple[int, int]
    seconds: float
    fps: float
    sound: bool
    prompt: str
    caption: str
    picture: Path | None


def render(clip: Clip, target: Path, cancelled: Callable[[], bool] = lambda: False) -> None:
    """Write the video to `target`.

    Raises:
        Cancelled: `cancelled()` became true.
        OSError, ValueError: The picture or the encoder failed; PyAV's errors are among these.
    """
    rate = Fraction(clip.fps).limit_denominator(1001)
    frames = max(1, round(clip.seconds * rate))
    paint = _moving_picture(clip.picture, clip.size) if clip.picture else _drifting_colours(clip)
    overlay = _lettering(clip)
    with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=rate, options={"preset": "superfast", "crf": "23"})
        video.width, video.height = clip.size
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        streams = [video]
        sounds: Iterator[av.AudioFrame] = iter(())
        if clip.sound:
            audio = container.add_stream("aac", rate=_SAMPLE_RATE, layout="stereo")
            streams.append(audio)
            sounds = _sounds(clip.seconds)
        for index in range(frames):
            if cancelled():
                raise Cancelled
            picture = paint(index / frames)
            picture.paste(overlay, (0, clip.size[1] - overlay.height), overlay)
            _draw_progress(picture, (index + 1) / frames)
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(video.encode(frame))
            for sound in _until(sounds, (index + 1) / rate):
                container.mux(audio.encode(sound))
        for sound in sounds:
            container.mux(audio.encode(sound))
        for stream in streams:
            container.mux(stream.encode(None))


def _until(sounds: Iterator[av.AudioFrame], seconds: Fraction) -> Iterator[av.AudioFrame]:
    for sound in sounds:
        yield sound
        if sound.pts >= seconds * _SAMPLE_RATE:
            return


def _ease(progress: float) -> float:
    return (1 - math.cos(math.pi * progress)) / 2


def _moving_picture(file: Path, size: tuple[int, int]) -> _Painter:
    """Return a painter of a slow zoom towards a point off the centre; subpixel boxes keep it smooth."""
    stage = (round(size[0] * _OVERSCAN), round(size[1] * _OVERSCAN))
    with Image.open(file) as opened:
        # A large JPEG is decoded at a fraction of its size; either side may become the longer one.
        opened.draft("RGB", (max(stage), max(stage)))
        upright = ImageOps.exif_transpose(opened).convert("RGBA")
    cover = ImageOps.fit(upright, stage, Image.Resampling.LANCZOS)
    source = Image.new("RGB", stage, (24, 24, 28))
    source.paste(cover, mask=cover)
    # The picture's digest chooses the direction, so that pictures move differently.
    chance = random.Random(file.name)  # noqa: S311 -- not a secret
    drift_x, drift_y = chance.choice((-0.7, 0.7)), chance.uniform(-0.5, 0.5)

    def paint(progress: float) -> Image.Image:
        eased = _ease(progress)
        zoom = _OVERSCAN + (_CLOSEST - _OVERSCAN) * eased
        width, height = size[0] * zoom, size[1] * zoom
        left = max(0.0, stage[0] - width) / 2 * (1 + drift_x * eased)
        top = max(0.0, stage[1] - height) / 2 * (1 + drift_y * eased)
        box = (left, top, min(left + width, stage[0]), min(top + height, stage[1]))
        return source.resize(size, Image.Resampling.BILINEAR, box=box)

    return paint


def _drifting_colours(clip: Clip) -> _Painter:
    """Return a painter of soft lights that move over a dark ground, painted small and enlarged."""
    chance = random.Random(clip.prompt)  # noqa: S311 -- not a secret
    ground, *lights = chance.choice(_PALETTES)
    width, height = small = (max(8, clip.size[0] // 8), max(8, clip.size[1] // 8))
    fall_off = [round(230 * _ease(max(0.0, 1 - value / _RIM))) for value in range(256)]
    glow = Image.radial_gradient("L").point(fall_off)
    phases = [(chance.uniform(0, math.tau), chance.uniform(0, math.tau)) for _ in lights]
    reach = 1.3 * max(small)
    scale = glow.width / reach

    def paint(progress: float) -> Image.Image:
        canvas = Image.new("RGB", small, ground)
        angle = progress * clip.seconds * 0.55
        for colour, (phase_x, phase_y) in zip(lights, phases, strict=True):
            x = width * (0.5 + 0.45 * math.sin(angle + phase_x)) - reach / 2
            y = height * (0.5 + 0.45 * math.cos(angle * 0.8 + phase_y)) - reach / 2
            move = (scale, 0.0, -x * scale, 0.0, scale, -y * scale)
            mask = glow.transform(small, Image.Transform.AFFINE, move, Image.Resampling.BILINEAR)
            canvas.paste(colour, mask=mask)
        return canvas.resize(clip.size, Image.Resampling.BICUBIC)

    return paint


def _lettering(clip: Clip) -> Image.Image:
    """Return the lower part of every frame: a gradient shade, the prompt and the caption."""
    width, height = clip.size
    unit = min(clip.size)
    margin = round(unit * 0.07)
    font = ImageFont.load_default(unit * 0.052)
    small = ImageFont.load_default(unit * 0.028)
    lines = wrap(clip.prompt, width - 2 * margin, font.getlength)
    step = round(unit * 0.07)
    block = min(height, len(lines) * step + round(unit * 0.32))
    shade = Image.linear_gradient("L").resize((width, block)).point([round(200 * _ease(v / 255)) for v in range(256)])
    overlay = Image.merge("RGBA", (*(Image.new("L", (width, block)),) * 3, shade))
    draw = ImageDraw.Draw(overlay)
    baseline = block - margin - round(unit * 0.05) - len(lines) * step
    for number, line in enumerate(lines):
        draw.text((margin, baseline + number * step), line, font=font, fill=(255, 255, 255, 255))
    draw.text((margin, block - margin - round(unit * 0.028)), clip.caption, font=small, fill=(255, 255, 255, 190))
    return overlay


def _draw_progress(picture: Image.Image, progress: float) -> None:
    thickness = max(2, min(picture.size) // 160)
    bar = (0, picture.height - thickness, round(picture.width * progress), picture.height)
    ImageDraw.Draw(picture).rectangle(bar, fill=(255, 255, 255))


def wrap(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Break any text into at most six lines of `width` pixels; the last ends in "…" if text is left.

    Words that fit stay whole. Control characters count as spaces.
    """
    lines: list[str] = []
    current = ""
    for word in _words(text):
        trial = f"{current} {word}" if current else word
        if measure(trial) <= width:
            current = trial
            continue
        if current:
            lines.append(current)
        *full, current = _pieces(word, width, measure)
        lines.extend(full)
        if len(lines) > _MAX_LINES:
            break
    lines.append(current)
    if len(lines) > _MAX_LINES:
        last = lines[_MAX_LINES - 1]
        while last and measure(f"{last}…") > width:
            last = last[:-1]
        lines = [*lines[: _MAX_LINES - 1], f"{last.rstrip()}…"]
    return [line for line in lines if line]


def _words(text: str) -> list[str]:
    return "".join(character if character.isprintable() else " " for character in text).split()


def _pieces(word: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Cut a word that is too wide, such as a long link or a script without spaces."""
    pieces = [""]
    for character in word:
        if pieces[-1] and measure(pieces[-1] + character) > width:
            pieces.append("")
            if len(pieces) > _MAX_LINES + 1:
                break
        pieces[-1] += character
    return pieces


def _sounds(seconds: float) -> Iterator[av.AudioFrame]:
    """Yield a quiet melody as stereo frames, faded out at the end."""
    loop = _melody()
    total = round(seconds * _SAMPLE_RATE)
    fade = min(total, round(_FADE_SECONDS * _SAMPLE_RATE))
    for start in range(0, total, 1024):
        count = min(1024, total - start)
        samples = array("h")
        for position in range(start, start + count):
            offset = position * 2 % len(loop)
            left = min(1.0, (total - position) / fade)
            samples.extend((round(loop[offset] * left), round(loop[offset + 1] * left)))
        frame = av.AudioFrame(format="s16", layout="stereo", samples=count)
        frame.sample_rate, frame.pts, frame.time_base = _SAMPLE_RATE, start, Fraction(1, _SAMPLE_RATE)
        frame.planes[0].update(_padded(samples.tobytes(), frame.planes[0].buffer_size))
        yield frame


def _padded(data: bytes, size: int) -> bytes:
    return data + bytes(size - len(data))


@cache
def _melody() -> array[int]:
    """Return four seconds of a pentatonic melody, interleaved stereo. Each note continues over the next ones."""
    beat = _SAMPLE_RATE // 2
    ring = 2 * beat
    notes = (220.0, 329.63, 440.0, 277.18, 369.99, 440.0, 329.63, 277.18)
    tones = {pitch: _tone(pitch, ring) for pitch in notes}
    loop = array("h", bytes(4 * beat * len(notes)))
    for number, pitch in enumerate(notes):
        left, right = (0.6, 0.4) if number % 2 else (0.4, 0.6)
        for index, value in enumerate(tones[pitch]):
            offset = (number * beat + index) * 2 % len(loop)
            loop[offset] += round(value * left)
            loop[offset + 1] += round(value * right)
    return loop


def _tone(pitch: float, count: int) -> list[float]:
    """Return one soft bell: quick attack, long decay, a little of the octave above."""
    step = math.tau * pitch / _SAMPLE_RATE
    return [
        6000
        * min(1.0, index / 1200)
        * math.exp(-3.2 * index / count)
        * (1 - index / count)
        * (math.sin(step * index) + 0.25 * math.sin(2 * step * index))
        for index in range(count)
    ]
