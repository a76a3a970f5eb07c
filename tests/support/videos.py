"""Make real videos with FFmpeg's encoders and muxers, and change them as other writers do.

Shared by the tests of media files. Each function returns bytes. `plays` checks that FFmpeg plays them.
"""

from __future__ import annotations

import functools
import io
import itertools
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
"""What a C2PA manifest store's `uuid` box begins with: https://c2pa.org/specifications/specifications/2.2/specs/"""
XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""What an XMP packet's `uuid` box begins with: XMP specification, part 3, 1.2.6."""
SIZE, RATE, FRAMES = (96, 160), 10, 20


@dataclass(frozen=True)
class Video:
    """A video track to encode, by default with the container's usual codec."""

    size: tuple[int, int] = SIZE
    codec: str = ""
    frames: int = FRAMES


@functools.cache
def encode(
    container: str = "mp4", *tracks: Video, sound: bool | str = True, flags: str = "", delay: float = 0.0
) -> bytes:
    """Encode two seconds of ten frames each, with two key frames a second. `flags` are FFmpeg's `movflags`.

    Args:
        container: FFmpeg's name of the container.
        tracks: Video tracks. By default one of the usual size.
        sound: Whether there is a sound track, or its codec. By default the container's usual one.
        flags: FFmpeg's `movflags`.
        delay: When the video begins, in seconds.
    """
    with tempfile.NamedTemporaryFile() as file:  # FFmpeg opens it again to put `moov` in front
        _write(file.name, container, tracks or (Video(),), sound=sound, flags=flags, delay=delay)
        return Path(file.name).read_bytes()


def _write(
    path: str, container: str, tracks: tuple[Video, ...], *, sound: bool | str, flags: str, delay: float
) -> None:
    webm = container in ("webm", "matroska")
    sound_codec = sound if isinstance(sound, str) else "libopus" if webm else "aac"
    with av.open(path, "w", format=container, options={"movflags": flags} if flags else {}) as muxer:
        videos = [_video(muxer, track, "libvpx" if webm else "libx264") for track in tracks]
        audio: Any = muxer.add_stream(sound_codec, rate=48000, layout="mono") if sound else None
        for number in range(max((track.frames for _, track in videos), default=0)):
            for stream, track in videos:
                if number < track.frames:
                    frame = _frame(stream, number)
                    frame.pts = number + round(delay * RATE)
                    muxer.mux(stream.encode(frame))
            if audio is not None:
                _mux_sound(muxer, audio, number)
        for stream in [stream for stream, _ in videos] + ([audio] if audio is not None else []):
            muxer.mux(stream.encode(None))


@functools.cache
def encode_sound(container: str) -> bytes:
    """Encode two seconds of sound without a picture."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as muxer:
        audio = muxer.add_stream("libopus" if container == "webm" else "aac", rate=48000, layout="mono")
        for number in range(FRAMES):
            _mux_sound(muxer, audio, number)
        muxer.mux(audio.encode(None))
    return file.getvalue()


def _video(muxer: Any, track: Video, codec: str) -> tuple[Any, Video]:
    stream = muxer.add_stream(track.codec or codec, rate=RATE)
    stream.width, stream.height = track.size
    stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(track.codec, "yuv420p")
    stream.codec_context.gop_size = RATE // 2
    return stream, track


def _frame(stream: Any, number: int) -> Any:
    frame = av.VideoFrame(stream.width, stream.height, stream.pix_fmt)
    for plane in frame.planes:
        plane.update(
            bytes((row * number + column) % 256 for row in range(plane.height) for column in range(plane.line_size))
        )
    return frame


def _mux_sound(muxer: Any, audio: Any, number: int) -> None:
    """Add a tenth of a second of sound."""
    frame = av.AudioFrame(audio.format.name, "mono", 4800)
    frame.sample_rate, frame.pts = 48000, 4800 * number
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    muxer.mux(audio.encode(frame))


def plays(data: bytes) -> tuple[int, float]:
    """Decode a file with FFmpeg. Returns the frames of its best video track, and its length in seconds."""
    with av.open(io.BytesIO(data)) as file:
        stream = file.streams.best("video")
        frames = sum(1 for _ in file.decode(stream))
        return frames, (file.duration or 0) / av.time_base


# ---- boxes -----------------------------------------------------------------------------------------------------------


def box(kind: bytes, *payload: bytes) -> bytes:
    body = b"".join(payload)
    return struct.pack(">I", 8 + len(body)) + kind + body


def outermost(data: bytes) -> list[tuple[bytes, int, int]]:
    """Return kind, start and end of each outermost box."""
    found, start = [], 0
    while start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, start + 8)
        end = start + length if length else len(data)
        found.append((kind, start, end))
        start = end
    return found


def moved(moov: bytes, by: int) -> bytes:
    """Return a `moov` box whose samples have moved by some bytes."""
    changed = bytearray(moov)
    at = moov.find(b"stco")
    while at >= 0:
        (count,) = struct.unpack_from(">I", moov, at + 8)
        offsets = struct.unpack_from(f">{count}I", moov, at + 12)
        struct.pack_into(f">{count}I", changed, at + 12, *(offset + by for offset in offsets))
        at = moov.find(b"stco", at + 4)
    return bytes(changed)


def inserted(data: bytes, piece: bytes, before: bytes) -> bytes:
    """Insert bytes before the first box of a kind, and adjust the offsets of the samples behind it."""
    place = next(start for kind, start, _ in outermost(data) if kind == before)
    media = next(start for kind, start, _ in outermost(data) if kind == b"mdat")
    by = len(piece) if media >= place else 0
    pieces = [
        moved(data[start:end], by) if kind == b"moov" else data[start:end] for kind, start, end in outermost(data)
    ]
    starts = [start for _, start, _ in outermost(data)]
    return b"".join(piece + part if start == place else part for start, part in zip(starts, pieces, strict=True))


def without(data: bytes, *kinds: bytes) -> bytes:
    """Remove the outermost boxes of some kinds, which stand before the samples."""
    by = -sum(end - start for kind, start, end in outermost(data) if kind in kinds)
    parts = [(kind, data[start:end]) for kind, start, end in outermost(data) if kind not in kinds]
    return b"".join(moved(part, by) if kind == b"moov" else part for kind, part in parts)


def with_long_mdat(data: bytes) -> bytes:
    """Give `mdat` a 64-bit length, in place of the 8 spare bytes before it."""
    parts = outermost(data)
    spare = next(at for at, (kind, _, _) in enumerate(parts) if kind == b"mdat") - 1
    _, start, end = parts[spare]
    assert end - start == 8
    length = parts[spare + 1][2] - start
    return data[:start] + struct.pack(">I4sQ", 1, b"mdat", length) + data[start + 16 :]


def with_open_end(data: bytes) -> bytes:
    """Make the last box extend to the end of the file, without a length."""
    _, start, _ = outermost(data)[-1]
    return data[:start] + bytes(4) + data[start + 4 :]


def patched(data: bytes, kind: bytes, offset: int, value: bytes, nth: int = 0) -> bytes:
    """Replace some bytes of the n-th box of a kind. `offset` counts from the box's body."""
    at = -1
    for _ in range(nth + 1):
        at = data.index(kind, at + 1)
    at += 4 + offset
    return data[:at] + value + data[at + len(value) :]


def appended(data: bytes, piece: bytes, *path: bytes) -> bytes:
    """Append bytes to the first box of a path of kinds, in a `moov` that moves no samples."""
    start, lengths = 0, []
    for kind in path:
        start = data.index(kind, start) - 4
        lengths.append(start)
    end = start + int(struct.unpack_from(">I", data, start)[0])
    changed = bytearray(data)
    for at in lengths:
        struct.pack_into(">I", changed, at, struct.unpack_from(">I", data, at)[0] + len(piece))
    return bytes(changed[:end] + piece + changed[end:])


# ---- WebM ------------------------------------------------------------------------------------------------------------


def element(identifier: str, body: bytes, width: int = 1) -> bytes:
    """Return an EBML element whose size is written in `width` bytes."""
    return bytes.fromhex(identifier) + (len(body) | 1 << 7 * width).to_bytes(width, "big") + body


def ebml_head(doctype: bytes = b"webm", before: bytes = b"", width: int = 1, text_width: int = 1) -> bytes:
    """Return the EBML header of a WebM, with the variations that writers use."""
    numbers = [element(name, bytes([value])) for name, value in (("4286", 1), ("42f7", 1), ("42f2", 4), ("42f3", 8))]
    versions = [element(name, bytes([value])) for name, value in (("4287", 4), ("4285", 2))]
    text = element("4282", doctype, text_width)
    return element("1a45dfa3", b"".join([before, *numbers, text, *versions]), width)


def with_head(webm: bytes, head: bytes) -> bytes:
    """Give a WebM another EBML header. Positions in its Segment count from the Segment's start."""
    return head + webm[webm.index(b"\x18\x53\x80\x67") :]


def without_length(webm: bytes) -> bytes:
    """Remove the length of a WebM's Segment, as live encoders do."""
    size = webm.index(b"\x18\x53\x80\x67") + 4
    return webm[:size] + b"\x01" + b"\xff" * 7 + webm[size + 8 :]


# ---- the kinds: all last two seconds, in twenty frames of 96x160, and are encoded when they are first asked for ------

_LAST, _FIRST = encode, functools.partial(encode, flags="faststart")
_PIECES = {
    "C2PA": box(b"uuid", C2PA, bytes(4), b"manifest\0", bytes(12_000)),
    "XMP": box(b"uuid", XMP, b"<?xpacket begin=''?>"),
    "pdin": box(b"pdin", bytes(12)),
    "meta": box(b"meta", bytes(4), box(b"hdlr", bytes(8), b"ID32", bytes(13))),
    "udta": box(b"udta", box(b"name", b"clip")),
    "a vendor's box": box(b"beam", bytes(999)),
    "a vendor's box with a length of 64 bits": struct.pack(">I4sQ", 1, b"Xtra", 1016) + bytes(1000),
    "300 small boxes": box(b"free") * 300,
}


def _pieces() -> Iterator[tuple[str, Callable[[], bytes]]]:
    for name, piece in _PIECES.items():
        yield f"{name}, moov last", functools.partial(lambda one: inserted(_LAST(), one, before=b"free"), piece)
        yield f"{name} in front of moov", functools.partial(lambda one: inserted(_FIRST(), one, before=b"moov"), piece)
        yield f"{name} behind moov", functools.partial(lambda one: inserted(_FIRST(), one, before=b"mdat"), piece)
        yield f"{name} at the end", functools.partial(lambda one: _LAST() + one, piece)


MP4S: dict[str, Callable[[], bytes]] = {
    "moov last": _LAST,
    "moov first": _FIRST,
    **dict(_pieces()),
    "mdat with a length of 64 bits": lambda: with_long_mdat(_LAST()),
    "mdat without a length": lambda: with_open_end(_FIRST()),
    "an empty mdat before the other": lambda: inserted(_FIRST(), box(b"mdat"), before=b"mdat"),
    "two mdats": lambda: inserted(_FIRST(), box(b"mdat", bytes(100)), before=b"mdat"),
    "two mdats, the last without a length": lambda: with_open_end(
        inserted(_FIRST(), box(b"mdat", bytes(100)), before=b"mdat")
    ),
    "moov without a length": lambda: with_open_end(_LAST()),
    **{
        f"{kind.decode('latin-1')} of {size} bytes before ftyp": functools.partial(
            lambda piece: inserted(_LAST(), piece, before=b"ftyp"), box(kind, bytes(size))
        )
        for kind in (b"uuid", b"free", b"skip", b"pdin", b"meta", b"udta", b"beam", b"\xa9xyz")
        for size in (20, 9000)
    },
    "a vendor's box with a length of 64 bits before ftyp": lambda: inserted(
        _LAST(), _PIECES["a vendor's box with a length of 64 bits"], before=b"ftyp"
    ),
}


def _old_mov(begins_with: bytes) -> bytes:
    return inserted(without(encode("mov"), b"ftyp", b"wide"), begins_with, before=b"mdat")


MOVS: dict[str, Callable[[], bytes]] = {
    "MOV": lambda: encode("mov"),
    "MOV without ftyp, mdat first": lambda: _old_mov(b""),
    "MOV without ftyp, mdat of 64 bits first": lambda: with_long_mdat(_old_mov(box(b"wide"))),
    "MOV without ftyp, moov first": lambda: without(encode("mov", flags="faststart"), b"ftyp"),
    "MOV without ftyp, wide first": lambda: _old_mov(box(b"wide")),
    "MOV without ftyp, free first": lambda: _old_mov(box(b"free", bytes(5))),
    "MOV without ftyp, skip first": lambda: _old_mov(box(b"skip", bytes(5))),
    "MOV without ftyp, pnot first": lambda: _old_mov(box(b"pnot", bytes(12)) + box(b"PICT", bytes(50))),
}

_PLAIN = functools.partial(encode, flags="frag_keyframe+empty_moov+default_base_moof")


def with_events(data: bytes) -> bytes:
    """Insert an event message between the fragments of a file."""
    starts = [start for kind, start, _ in outermost(data) if kind == b"moof"]
    event = box(b"emsg", bytes(4), b"urn:example\0", b"1\0", bytes(16))
    return event.join(data[start:end] for start, end in itertools.pairwise([0, *starts, len(data)]))


FRAGMENTED: dict[str, Callable[[], bytes]] = {
    "fragments": _PLAIN,
    "fragments, begun when the first is known": lambda: encode(flags="frag_keyframe+empty_moov+delay_moov"),
    "fragments, moov has the first": lambda: encode(flags="frag_keyframe"),
    "fragments, one for each frame": lambda: encode(flags="frag_every_frame+empty_moov+default_base_moof"),
    "fragments with an index": lambda: encode(flags="frag_keyframe+empty_moov+default_base_moof+global_sidx"),
    "fragments of DASH": lambda: encode(flags="frag_keyframe+empty_moov+default_base_moof+dash"),
    "fragments of CMAF": lambda: encode(flags="frag_keyframe+empty_moov+cmaf"),
    "fragments with events between": lambda: with_events(_PLAIN()),
    "fragments, duration of all ones": lambda: patched(_PLAIN(), b"mvhd", 16, b"\xff" * 4),
}

_HEADS = {
    "WebM by libwebm": ebml_head(width=1),
    "WebM, sizes of eight bytes": ebml_head(width=8, text_width=8),
    "WebM by GStreamer, type ends with NUL": ebml_head(b"webm\0"),
    "WebM, type padded": ebml_head(b"webm" + bytes(9)),
    "WebM, Void first": ebml_head(before=element("ec", bytes(16))),
    "WebM, large Void first": ebml_head(before=element("ec", bytes(600), width=4), width=4),
    "WebM, CRC-32 first": ebml_head(before=element("bf", bytes(4))),
}
WEBMS: dict[str, Callable[[], bytes]] = {
    "WebM by FFmpeg": lambda: encode("webm"),
    **{name: functools.partial(lambda head: with_head(encode("webm"), head), head) for name, head in _HEADS.items()},
}
