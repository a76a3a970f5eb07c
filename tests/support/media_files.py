"""Make small real pictures, videos and sounds, as programs and phones write them."""

from __future__ import annotations

import io
from typing import Any

import av
from av import AudioFrame, AudioResampler, VideoFrame
from PIL import Image

_SIZE = 64, 48
_FRAMES = 3


def picture(form: str, *, frames: int = 1, **options: Any) -> bytes:
    """Make a picture with Pillow. Several frames make a sequence."""
    images = [Image.new("RGB", (16, 16), (80 * number, 0, 0)) for number in range(frames)]
    file = io.BytesIO()
    more = {"save_all": True, "append_images": images[1:]} if frames > 1 else {}
    images[0].save(file, form, **more, **options)
    return file.getvalue()


def media(
    container: str, *, video: str | None = None, sound: str | None = None, rate: int = 44_100, **options: str
) -> bytes:
    """Make a video or a sound with FFmpeg.

    Args:
        container: FFmpeg's name of the format.
        video: The codec of the pictures.
        sound: The codec of the sound.
        rate: Samples of sound a second.
        **options: Options of the format.
    """
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options) as output:
        streams = []
        if video:
            streams.append(output.add_stream(video, rate=10, width=_SIZE[0], height=_SIZE[1], pix_fmt="yuv420p"))
        if sound:
            streams.append(output.add_stream(sound, rate=rate, layout="mono"))
        for stream in streams:
            for frame in _pictures() if stream.type == "video" else _sounds(stream):
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    return file.getvalue()


def _pictures() -> list[VideoFrame]:
    frames = []
    for number in range(_FRAMES):
        frame = VideoFrame(*_SIZE, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([40 + 60 * number]) * plane.buffer_size)
        frame.pts = number
        frames.append(frame)
    return frames


def _sounds(stream: Any) -> list[AudioFrame]:
    codec = stream.codec_context
    resampler = AudioResampler(codec.format.name, "mono", codec.sample_rate, frame_size=codec.frame_size or 1024)
    frames: list[AudioFrame] = []
    for number in range(8):
        frame = AudioFrame("s16", "mono", 1024)
        frame.planes[0].update(bytes(range(256)) * 8)
        frame.sample_rate, frame.pts = codec.sample_rate, number * 1024
        frames += resampler.resample(frame)
    return frames + [frame for frame in resampler.resample(None) if frame is not None]
