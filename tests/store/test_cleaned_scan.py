"""Making a part costs what it must: each file hashed once, each frame decoded, scaled and written once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import pytest

from media import fan, write_video
from sonolearn.cleaning import clean as cleaning
from sonolearn.config import CleaningConfig, PrepareConfig
from sonolearn.scans import video
from sonolearn.store import cleaned_scan
from sonolearn.store.prepare import prepare

FRAMES, SKIP = 60, 2
TAKEN = FRAMES // SKIP


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts of what is done, by name."""
    counts: Counter[str] = Counter()

    def count(where: Any, name: str, how_many: Any = lambda *_: 1) -> None:
        real = getattr(where, name)

        def counted(*args: Any, **options: Any) -> Any:
            counts[name] += how_many(*args)
            return real(*args, **options)

        monkeypatch.setattr(where, name, counted)

    count(cleaned_scan, "content_hash")
    count(video, "read_video")
    count(video, "to_pixels")
    count(cleaning, "examine", lambda shots, *_: len(shots))
    count(cleaning, "fit")
    count(cv2, "inpaint")
    for name in ("medianBlur", "cvtColor"):
        count(cv2, name)
    count(cleaned_scan.CleanedScan, "read")
    return counts


def test_every_frame_is_decoded_examined_and_scaled_once(tmp_path: Path, work: Counter[str]) -> None:
    write_video(tmp_path / "a.mp4", fan(FRAMES), "libx264")
    store = prepare([tmp_path / "a.mp4"], tmp_path / "s", None, PrepareConfig(size=64, frame_skip=SKIP, workers=1))
    assert len(store) == TAKEN
    assert {name: work[name] for name in ("content_hash", "read_video", "read")} == {
        "content_hash": 1, "read_video": 1, "read": 1
    }  # fmt: skip
    assert work["to_pixels"] == work["examine"] == work["fit"] == TAKEN
    # Medians cost as much as scaling: none for each frame. The pictures of the report take one each.
    assert work["medianBlur"] <= 3
    assert work["cvtColor"] == work["inpaint"] == 0


def test_frames_whose_marks_stay_the_same_are_filled_three_at_a_time(tmp_path: Path, work: Counter[str]) -> None:
    frames = fan(FRAMES)
    for frame in frames:
        cv2.drawMarker(frame, (160, 130), 255, cv2.MARKER_CROSS, 13, 2)
    write_video(tmp_path / "a.mp4", frames, "libx264")
    prepare([tmp_path / "a.mp4"], tmp_path / "s", None, PrepareConfig(size=64, frame_skip=SKIP, workers=1))
    assert 0 < work["inpaint"] <= TAKEN / 2


def test_each_frame_is_written_to_its_part_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", fan(FRAMES), "libx264")
    sizes: list[int] = []
    real = Path.open

    def opened(path: Path, *args: Any, **options: Any) -> Any:
        file = real(path, *args, **options)
        if ".frames" in path.name and args[:1] == ("wb",):
            write = file.write
            sizes.append(0)

            class Counted:
                def __enter__(self) -> Any:
                    return self

                def __exit__(self, *_: object) -> None:
                    file.close()

                def write(self, data: bytes) -> int:
                    sizes[-1] += len(data)
                    return int(write(data))

            return Counted()
        return file

    monkeypatch.setattr(Path, "open", opened)
    config = PrepareConfig(size=64, frame_skip=SKIP, workers=1, cleaning=CleaningConfig(marks="keep"))
    prepare([tmp_path / "a.mp4"], tmp_path / "s", None, config)
    assert sizes == [TAKEN * 64 * 64]
