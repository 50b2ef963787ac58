"""Stills (PNG, JPEG, BMP, TIFF ...) through Pillow, and folders of numbered stills as one sequence.

Pillow and not OpenCV, because OpenCV fills the missing part of a cut-off JPEG with grey without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from sonolearn.data.scans.scan import Frame, Pixels, Rejected, Scan


def open_still(path: Path) -> Scan:
    """Open one still; a TIFF of several pages is a sequence.

    Raises:
        Rejected: it is no image, or of a kind that has no 8-bit meaning.
    """
    image = _opened(path)
    with image:
        # Other formats with several pictures (MPO, animated PNG) hold previews or are no ultrasound: the first counts.
        pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        width, height = image.size

    def read(takes: Callable[[int], bool], colour: bool) -> Iterator[Frame]:
        with _opened(path) as image:
            for index in filter(takes, range(pages)):
                yield Frame(index, np.nan, *_decoded(image, colour, index, (width, height)))

    return Scan("still" if pages == 1 else "sequence", height, width, read, count=pages)


def open_sequence(paths: list[Path]) -> Scan:
    """Open numbered stills of one recording as one scan, in the given order.

    Raises:
        Rejected: the first is no image. A later one that cannot be read is found when frames are read.
    """
    with _opened(paths[0]) as image:
        width, height = image.size

    def read(takes: Callable[[int], bool], colour: bool) -> Iterator[Frame]:
        for index in filter(takes, range(len(paths))):
            with _opened(paths[index]) as image:
                yield Frame(index, np.nan, *_decoded(image, colour, 0, (width, height)))

    return Scan("sequence", height, width, read, count=len(paths))


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except UnidentifiedImageError as error:
        raise Rejected("unreadable", "is not an image of a known format") from error
    except Image.DecompressionBombError as error:
        raise Rejected("too_large", "has too many pixels to be an ultrasound image") from error


def _decoded(image: Image.Image, colour: bool, page: int, size: tuple[int, int]) -> tuple[Pixels, Pixels | None]:
    """(H, W) grey or luma, or (H, W, 3) RGB, of one page; and the chroma of luma."""
    try:
        if page:
            image.seek(page)
        if image.size != size:
            raise Rejected(
                "size_changes", "the images of the sequence differ in size: if they are stills, number them less alike"
            )
        if not colour and image.mode == "RGB" and image.draft("YCbCr", image.size):
            planes = np.asarray(image)  # a JPEG's luma and chroma as they lie
            return planes[..., 0], planes[..., 1:]
        return to_uint8(image), None
    except Rejected:
        raise
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, struct.error, ...
        raise Rejected("damaged", "the image is damaged or cut off") from error


def to_uint8(image: Image.Image) -> Pixels:
    """A Pillow image as (H, W) or (H, W, 3) uint8: 16 bits lose the lower 8, transparency lies on black.

    Raises:
        Rejected: floating-point images, whose range nobody knows.
    """
    mode = image.mode
    if mode == "F":
        raise Rejected("unsupported", "floating-point images have no known grey range: save it with 8 or 16 bits")
    if mode.startswith("I"):  # I;16, I;16B, and I, which Pillow takes for 16-bit PNG
        return (np.clip(np.asarray(image).astype(np.int64), 0, 65535) >> 8).astype(np.uint8)
    if mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layers = image.convert("RGBA")
        black = Image.new("RGBA", layers.size, (0, 0, 0, 255))
        return np.asarray(Image.alpha_composite(black, layers).convert("RGB"))
    if mode in ("L", "1"):
        return np.asarray(image.convert("L"))
    return np.asarray(image.convert("RGB"))
