"""Decode a video but for the frames that are neither taken nor needed by others; that spares up to most of the work.

- Where each frame stands alone (Motion JPEG, uncompressed video), only frames that are taken are decoded.
- In H.264 some B frames are not referred to by any other. The decoder knows them by their headers (nal_ref_idc 0) and
  leaves them out where it is told so, packet by packet. Frames can no longer be counted then: their times tell their
  numbers.
- All else is decoded whole; also HEVC, where the decoder takes frames for unused that a higher temporal layer may use.

What is decoded is the same to the last bit. Damage in a frame that is left out is not noticed, and does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import av
from av.error import FFmpegError

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
