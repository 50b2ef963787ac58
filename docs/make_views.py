"""Draw docs/images/views_ultrasound.png: what each effect of the ultrasound views does to frames of the phantom.

python docs/make_views.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np

from sonolearn.config import ViewsConfig
from sonolearn.recipes import recipe
from sonolearn.ssl.views import Image, make_view
from sonolearn.ssl.views.plain import Window
from sonolearn.ssl.views.ultrasound import Beams, scan_again
from sonolearn_phantom import Fetus, Patient, Probe, render, still_pose

PICTURE = Path(__file__).parent / "images" / "views_ultrasound.png"
PLANES = ("4CH", "LVOT", "3VV/3VT")
SIZE = 256

# Each effect alone, so strong that nobody overlooks it.
EFFECTS = {
    "frame": ViewsConfig(),
    "attenuation\n-12 dB": ViewsConfig(attenuation=1, attenuation_db=(-12, -12)),
    "gain +8 dB": ViewsConfig(gain=1, gain_db=(8, 8), dynamic_range_db=(60, 60)),
    "range 40 dB": ViewsConfig(gain=1, gain_db=(0, 0), dynamic_range_db=(40, 40)),
    "speckle\n4 dB": ViewsConfig(speckle=1, speckle_db=(4, 4)),
    "haze 0.8": ViewsConfig(haze=1, haze_level=(0.8, 0.8)),
    "shadow\n25 dB": ViewsConfig(shadow=1, shadow_db=(25, 25)),
}
VIEWS = {"ultrasound": 4, "study": 2}


def pictures(frame: Image, row: int) -> Iterator[tuple[str, Image]]:
    """Title and picture of each column: each effect alone, then whole views of each preset."""
    whole = Window(frame.shape, SIZE, 0, 0, SIZE, SIZE)
    for column, (title, config) in enumerate(EFFECTS.items()):
        yield title, scan_again(Beams(frame), whole, config, np.random.default_rng([row, column]))
    for preset, views in VIEWS.items():
        config = recipe("barlow_twins", None, views={"name": preset}).views
        rng = np.random.default_rng([row, len(preset)])
        for number in range(views):
            yield f"{preset}\nview {number + 1}", make_view(frame, SIZE, config, number % 2, rng)


def frame_of(plane: str, index: int) -> Image:
    """A still (SIZE, SIZE) of `plane` from patient number `index`."""
    fetus = Fetus(Patient.draw(0, index))
    rng = np.random.default_rng(index)
    return render(fetus, still_pose(fetus, plane, rng), Probe.of(fetus.patient, SIZE, SIZE), rng.random())[0]


def main() -> None:
    """Draw the picture."""
    columns = len(EFFECTS) + sum(VIEWS.values())
    figure, axes = plt.subplots(len(PLANES), columns, figsize=(columns, 1.02 * len(PLANES) + 0.3), dpi=110)
    for row, plane in enumerate(PLANES):
        axes[row, 0].set_ylabel(plane, fontsize=8)
        for axis, (title, picture) in zip(axes[row], pictures(frame_of(plane, row), row), strict=True):
            axis.imshow(cv2.resize(picture, (128, 128), interpolation=cv2.INTER_AREA), cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
            if row == 0:
                axis.set_title(title, fontsize=8)
    figure.tight_layout(pad=0.3, w_pad=0.2, h_pad=0.2)
    figure.savefig(PICTURE)


if __name__ == "__main__":
    main()
