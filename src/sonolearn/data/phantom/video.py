"""Write a cine as MP4 (H.264, yuv420p), as machines export it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from sonolearn.data.phantom.picture import Image


def write_mp4(path: Path, frames: list[Image], frame_rate: int) -> None:
    """Write `frames`, each (height, width, 3) uint8 RGB with even sides, at `frame_rate` frames / s.

    One thread codes, so that the same frames give the same bytes.
    """
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(frame_rate))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast", "threads": "1", "x264-params": "threads=1"}
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
