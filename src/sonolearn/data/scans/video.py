"""Videos, through PyAV (FFmpeg): MP4, MOV, AVI, MPEG, GIF, MKV, WMV and more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import av
import cv2
import numpy as np
from av.error import FFmpegError

from sonolearn.data.scans.decoding import Decoder
from sonolearn.data.scans.scan import Frame, Pixels, Rejected, Scan

# Formats whose first plane is 8-bit luma: read as it lies, three times faster than a conversion to grey.
_LUMA_FIRST = re.compile(r"yuva?j?4\d\dp|nv12|nv21|gray")
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_BLACK, _WHITE = 16, 235  # levels of luma in video (ITU-R BT.601)

av.logging.set_level(av.logging.PANIC)  # libav's own messages may hold file names, and we say what is wrong


def open_video(path: Path) -> Scan:
    """Open a video file.

    Raises:
        Rejected: it is no video, has no picture, or its header is cut off.
    """
    with _opened(str(path)) as container:
        stream = _stream(container)
        rate = stream.average_rate
        return Scan(
            kind="video", height=stream.codec_context.height, width=stream.codec_context.width,
            read=lambda takes, colour: read_video(str(path), takes, colour),
            count=stream.frames or _packets(container, stream), fps=float(rate) if rate else None,
        )  # fmt: skip


def read_video(source: str | BinaryIO, takes: Callable[[int], bool], colour: bool) -> Iterator[Frame]:
    """Read a video from its start and give the frames that `takes` takes; others are decoded where these need them.

    Raises:
        Rejected: the stream is damaged, or holds fewer frames than its container says.
    """
    with _opened(source) as container:
        stream = _stream(container)
        decoder = Decoder(source, container, stream, takes)
        fps = float(stream.average_rate or 0)
        packets, start, shape = 0, None, None
        try:
            for packet in container.demux(stream):
                packets += packet.size > 0
                for index, frame in decoder.decode(packet):
                    if frame.is_corrupt:
                        raise Rejected("damaged", f"frame {index} cannot be decoded wholly")
                    start = frame.time if start is None else start
                    shape = shape or (frame.width, frame.height)
                    if (frame.width, frame.height) != shape:
                        raise Rejected("size_changes", f"the picture changes its size at frame {index}")
                    if takes(index):
                        time = frame.time - start if frame.time is not None and start is not None else None
                        seconds = time if time is not None else index / fps if fps else np.nan
                        yield Frame(index, seconds, *_pixels(frame, colour))
        except FFmpegError as error:
            message = f"decoding stops at frame {decoder.next}: the file is damaged or cut off"
            raise Rejected("damaged", message) from error
        # Packets, not frames: an edit list may rightly hide frames that the container counts.
        if packets < stream.frames:
            raise Rejected("truncated", f"holds {packets} of the {stream.frames} frames that its header promises")
        if decoder.next == 0:
            raise Rejected("no_frames", "holds no frame")


def _pixels(frame: av.VideoFrame, colour: bool) -> tuple[Pixels, Pixels | None]:
    """(H, W) luma in full range and its chroma, or (H, W, 3) RGB."""
    name = frame.format.name
    if colour and name != "gray":
        return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), None
    if not _LUMA_FIRST.fullmatch(name):
        # RGB (GIF, uncompressed AVI) is turned to grey after the crop; deeper or packed YUV by FFmpeg.
        in_colour = frame.format.is_rgb or name.startswith("pal")
        return np.asarray(frame.to_ndarray(format="rgb24" if in_colour else "gray"), np.uint8), None
    luma = _plane(frame, 0)
    chroma = cv2.merge([_plane(frame, 1), _plane(frame, 2)]) if "yuv" in name else None
    if name != "gray" and "j" not in name and frame.color_range != _FULL_RANGE:
        luma = full_range(luma)
    return luma, None if chroma is None else np.asarray(chroma, np.uint8)


def full_range(luma: Pixels) -> Pixels:
    """(H, W) luma with black at 0 and white at 255, from video levels; what is beyond them is cut off."""
    above_black = cv2.subtract(luma, _BLACK)  # type: ignore[call-overload]
    # Two steps of arithmetic take half the time of a table of 256 levels, and give the same ones.
    return np.asarray(cv2.convertScaleAbs(above_black, alpha=255 / (_WHITE - _BLACK)), np.uint8)


def _plane(frame: av.VideoFrame, number: int) -> Pixels:
    """One plane (h, w) of a planar frame; a view."""
    plane: Any = frame.planes[number]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


def _packets(container: Any, stream: Any) -> int | None:
    """How many frames a video has whose header does not say: its packets, counted without decoding."""
    try:
        return sum(packet.size > 0 for packet in container.demux(stream)) or None
    except FFmpegError:
        return None


def _opened(source: str | BinaryIO) -> Any:
    try:
        return av.open(source, metadata_errors="replace")
    except (FFmpegError, ValueError) as error:
        raise Rejected("unreadable", "cannot be opened as a video: it is cut off or of an unknown format") from error


def _stream(container: Any) -> Any:
    if not container.streams.video:
        raise Rejected("no_frames", "has no picture stream")
    return container.streams.video[0]
