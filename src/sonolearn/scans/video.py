"""Videos, through PyAV (FFmpeg): MP4, MOV, AVI, MPEG, GIF, MKV, WMV and more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.error import FFmpegError

from sonolearn.scans.scan import MOST_PIXELS, Frame, Geometry, Rejected, Scan, check_size
from sonolearn.scans.video_pixels import geometry_of, to_pixels

_WHOLE_PACKETS = ("mov", "matroska")  # containers whose packets are pictures, each with its time
Takes = Callable[[int], bool]


class Decoder:
    """Decodes packets of a stream in their order and counts its frames.

    Attributes:
        next: number of the next frame in the recording, from 0.
    """

    def __init__(self, source: str | BinaryIO, container: Any, stream: Any, takes: Takes) -> None:
        """Read the times of all packets, where that helps to leave frames out.

        Args:
            source: the file; one that is open already is not read twice.
            container: it opened; nothing of it was read.
            stream: its pictures.
            takes: whether the frame of a number is taken.
        """
        self.next = 0
        self._takes, self._context = takes, stream.codec_context
        self._number_at: dict[int, int] = {}
        times_tell = self._context.name == "h264" and container.format.name.startswith(_WHOLE_PACKETS)
        if times_tell and isinstance(source, str):
            numbers = numbers_by_time(source)
            if not all(map(takes, numbers.values())):
                self._number_at = numbers

    def decode(self, packet: Any) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames that are ready now, with their numbers; among them some that are not taken.

        Raises:
            FFmpegError: the packet is damaged.
        """
        if self._stands_alone(packet) and not self._takes(self.next):
            self.next += 1
            return
        if self._number_at and packet.size:
            number = self._number_at.get(packet.pts)
            needed = number is None or number == 0 or self._takes(number)
            self._context.skip_frame = "DEFAULT" if needed else "NONREF"
        for frame in packet.decode():
            number = self._number_at.get(frame.pts, self.next)
            self.next = number + 1
            yield number, frame

    def _stands_alone(self, packet: Any) -> bool:
        """Whether a packet is a frame that no other needs. The first is always decoded: times count from it."""
        return bool(self._context.codec.intra_only and self.next and packet.size and not packet.is_discard)


def numbers_by_time(file: str) -> dict[int, int]:
    """Number of each frame by its time stamp; empty where packets do not tell it, as when an edit list hides some."""
    times = []
    try:
        with av.open(file, metadata_errors="replace") as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.size == 0:
                    continue
                if packet.pts is None or packet.is_discard:
                    return {}
                times.append(packet.pts)
    except FFmpegError:  # said when the packets are decoded
        return {}
    numbers = {time: number for number, time in enumerate(sorted(times))}
    return numbers if len(numbers) == len(times) else {}


_FASTEST = 1000  # frames a second; what is above is the tick of a clock
_TURNING = ("mov", "matroska")  # containers that say how pictures are turned
_WITH_SIZE = ("mov", "matroska", "avi", "gif", "asf")  # containers that say it; FFmpeg forgets one beyond its limit
# For FFmpeg, which takes as much memory as a stream says; it counts the padding of planes, too.
_LIMITS = {"max_pixels": str(MOST_PIXELS)}

av.logging.set_level(av.logging.PANIC)  # libav's own messages may hold file names, and we say what is wrong


@dataclass(frozen=True)
class Video:
    """What is known of a video before it is decoded."""

    height: int
    """Of its frames as they are stored, in px."""
    width: int
    """As `height`."""
    count: int | None
    """Number of frames, those that were dropped included; None where it is not known."""
    fps: float | None
    """Frames a second; None where it is not known."""
    geometry: Geometry
    """How frames are shown."""


def open_video(path: Path) -> Scan:
    """Open a video file.

    Raises:
        Rejected: it is not a video, has no picture, or its header is cut off.
    """
    video = probe(str(path))
    height, width = video.geometry.size(video.height, video.width)
    return Scan(
        kind="video", height=height, width=width, count=video.count, fps=video.fps,
        read=lambda takes, colour: read_video(str(path), takes, colour, video.geometry),
    )  # fmt: skip


def probe(source: str | BinaryIO) -> Video:
    """Look at the header of a video, and at its first frame where that tells how it is turned.

    Raises:
        Rejected: as `open_video`.
    """
    with _opened(source) as container:
        stream = _stream(container)
        context, rate = stream.codec_context, stream.average_rate
        first, packets = _first_frame(container, stream) if container.format.name.startswith(_TURNING) else (None, 0)
        count = stream.frames or packets + _packets(container, stream)
        check_size(context.height, context.width, count)
        aspect = float(stream.sample_aspect_ratio or 1)
        return Video(
            height=context.height, width=context.width, count=count or None,
            fps=float(rate) if rate and rate <= _FASTEST else None,
            geometry=Geometry(aspect) if first is None else geometry_of(first, aspect),
        )  # fmt: skip


def _first_frame(container: Any, stream: Any) -> tuple[av.VideoFrame | None, int]:
    """The frame of the first packet, if it can be decoded, and how many packets were read."""
    packets = 0
    try:
        for packet in container.demux(stream):
            if packet.size:
                packets += 1
                # What comes next is not waited for, in which it might be shown before this one.
                frames = packet.decode() or stream.codec_context.decode(None)
                return next(iter(frames), None), packets
    except FFmpegError:  # said when frames are read
        pass
    return None, packets


def _packets(container: Any, stream: Any) -> int:
    """How many more packets there are, counted without decoding."""
    try:
        return sum(packet.size > 0 for packet in container.demux(stream))
    except FFmpegError:
        return 0


def read_video(
    source: str | BinaryIO, takes: Callable[[int], bool], colour: bool, geometry: Geometry, promised: int = 0
) -> Iterator[Frame]:
    """Read a video from its start and give the frames that `takes` takes; others are decoded where these need them.

    Args:
        source: the file.
        takes: whether the frame of a number is taken.
        colour: whether RGB is asked for.
        geometry: how frames are shown.
        promised: number of frames by another header than the video's own.

    Raises:
        Rejected: the stream is damaged, or holds fewer frames than a header says.
    """
    with _opened(source) as container:
        stream = _stream(container)
        decoder = Decoder(source, container, stream, takes)
        clock = Clock(float(stream.average_rate or 0))
        packets, reached, shape = 0, 0, None
        try:
            for packet in container.demux(stream):
                packets += packet.size > 0
                reached = max(reached, packet.dts + 1 if packet.dts is not None else 0)
                for index, frame in decoder.decode(packet):
                    if frame.is_corrupt:
                        raise Rejected("damaged", f"frame {index} cannot be decoded wholly")
                    shape = shape or (frame.width, frame.height)
                    if (frame.width, frame.height) != shape:
                        raise Rejected("size_changes", f"the picture changes its size at frame {index}")
                    time = clock.time(index, frame.time)
                    if takes(index):
                        yield Frame(index, time, *geometry.show(*to_pixels(frame, colour)))
        except FFmpegError as error:
            message = f"decoding stops at frame {decoder.next}: the file is damaged or cut off"
            raise Rejected("damaged", message) from error
        # Packets, not frames: an edit list may rightly hide frames that the container counts. In AVI also frames count
        # that were dropped, empty packets in the file; its time stamps number all of them.
        found = max(packets, reached) if container.format.name == "avi" else packets
        if found < stream.frames:
            raise Rejected("truncated", f"holds {packets} of the {stream.frames} frames that its header promises")
        if decoder.next < promised:
            raise Rejected("truncated", f"holds {decoder.next} of the {promised} frames that its header promises")
        if decoder.next == 0:
            raise Rejected("no_frames", "holds no frame")


class Clock:
    """Seconds since the first frame; where a stream has no times, or they go back, frames are evenly spaced."""

    def __init__(self, fps: float) -> None:
        self._step = 1 / fps if fps else math.nan
        self._start: float | None = None
        self._last: tuple[int, float] | None = None

    def time(self, index: int, stamp: float | None) -> float:
        """The time of a frame, frames coming in their order."""
        before, last = self._last or (0, 0.0)
        expected = last + (index - before) * self._step
        if stamp is None:
            time = expected
        else:
            self._start = stamp if self._start is None else self._start
            time = stamp - self._start
            if self._last is not None and time <= last and not math.isnan(expected):
                time = expected
        self._last = index, time
        return time


def _opened(source: str | BinaryIO) -> Any:
    try:
        return av.open(source, options=_LIMITS, metadata_errors="replace")
    except (FFmpegError, ValueError) as error:
        raise Rejected("unreadable", "cannot be opened as a video: it is cut off or of an unknown format") from error


def _stream(container: Any) -> Any:
    if not container.streams.video:
        raise Rejected("no_frames", "has no picture stream")
    stream = container.streams.video[0]
    context = stream.codec_context
    if context is None:
        raise Rejected("unsupported", "is coded in a way that FFmpeg does not know")
    if context.width == 0 and container.format.name.startswith(_WITH_SIZE):
        raise Rejected("too_large", f"has more than {MOST_PIXELS // 1_000_000} million pixels")
    if context.width == 0:
        raise Rejected("unreadable", "does not say how large its picture is: it is cut off or damaged")
    check_size(context.height, context.width, stream.frames)
    context.options = _LIMITS
    context.thread_count = 1  # files are spread over processes, and one thread holds the fewest frames in memory
    return stream
