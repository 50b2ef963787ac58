"""MP4 files are H.264 at the scan's frame rate and show the rendered frames."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from sonolearn.config import PhantomConfig
from sonolearn_phantom import Fetus
from sonolearn_phantom.files import write_mp4
from sonolearn_phantom.recording import record_scan


def test_video_has_every_frame_at_the_right_rate(fetus: Fetus, tmp_path: Path) -> None:
    frames = record_scan(fetus, 1, PhantomConfig(frames=5, size=96)).frames
    path, again = tmp_path / "a.mp4", tmp_path / "b.mp4"
    write_mp4(path, frames, 31)
    write_mp4(again, frames, 31)
    assert path.read_bytes() == again.read_bytes()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 31
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 5
    assert np.abs(np.stack(decoded).astype(int) - np.stack(frames)).mean() < 5
