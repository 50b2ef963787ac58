"""Stills (PNG, JPEG, BMP, TIFF ...) through Pillow, and folders of numbered stills as one sequence.

Pillow and not OpenCV, because OpenCV fills the missing part of a cut-off JPEG with grey without a word.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as Exif

from sonolearn.scans.scan import MOST_PIXELS, Frame, Geometry, Pixels, Rejected, Scan, check_size
from sonolearn.scans.video_pixels import on_black

# How a stored picture is shown: mirrored, then turned counter-clockwise (EXIF 2.32, 4.6.5.1.6).
_ORIENTATIONS = {
    2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1),
}  # fmt: skip
_LYING = 5  # the first of the orientations that exchange height and width
_DEPTHS = (8, 10, 12, 14, 16)  # bits that machines measure in
_SUBFILE_TYPE, _PHOTOMETRIC = 254, 262  # TIFF tags
_MASK = 4  # bit of the first
_UNLIKE = "the images of the sequence differ in size: if they are stills, number them less alike"


def open_still(path: Path) -> Scan:
    """Open one still; a TIFF of several pages is a sequence, without its thumbnails and masks.

    Raises:
        Rejected: it is not an image, of a kind that has no 8-bit meaning, or too large.
    """
    with _refusing_damage(), _opened(path) as image:
        # Other formats with several pictures (MPO, animated PNG) hold previews or are no ultrasound: the first counts.
        pages = _pages(image) if image.format == "TIFF" else [0]
    return _scan([(path, page) for page in pages])


def open_sequence(paths: list[Path]) -> Scan:
    """Open numbered stills of one recording as one scan, in the given order.

    Raises:
        Rejected: the first is not an image. A later one that cannot be read is found when frames are read.
    """
    return _scan([(path, 0) for path in paths])


def _scan(pictures: Sequence[tuple[Path, int]]) -> Scan:
    """Pages of files as a scan; the first of them tells size and depth."""
    with _refusing_damage(), _opened(*pictures[0]) as image:
        size = _geometry(image).size(*image.size[::-1])
        check_size(*size, len(pictures))
        depth = _depth(_values(image, *pictures[0])) if len(pictures) > 1 and _is_deep(image) else 0

    def read(takes: Callable[[int], bool], colour: bool) -> Iterator[Frame]:
        taken = [(index, *picture) for index, picture in enumerate(pictures) if takes(index)]
        for path, pages in itertools.groupby(taken, key=lambda picture: picture[1]):
            with _opened(path) as image:
                for index, _, page in pages:
                    pixels, chroma = _decoded(image, path, page, colour, depth)
                    if pixels.shape[:2] != size:
                        raise Rejected("size_changes", _UNLIKE)
                    yield Frame(index, np.nan, pixels, chroma)

    return Scan("still" if len(pictures) == 1 else "sequence", *size, read, count=len(pictures))


@contextmanager
def _refusing_damage() -> Iterator[None]:
    try:
        yield
    except Rejected:
        raise
    except UnidentifiedImageError as error:
        raise Rejected("unreadable", "is not an image of a known format") from error
    except Image.DecompressionBombError as error:
        raise Rejected("too_large", f"has more than {MOST_PIXELS // 1_000_000} million pixels") from error
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, struct.error, ...
        if isinstance(error, OSError) and error.errno:  # the disk's, and not of what the file holds
            raise
        raise Rejected("damaged", "the image is damaged or cut off") from error


def _opened(path: Path, page: int = 0) -> Any:
    with _refusing_damage(), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we have a limit of our own
        image = Image.open(path)
        image.seek(page)
    check_size(image.height, image.width, 1)
    return image


def _pages(image: Any) -> list[int]:
    """The pages of a TIFF that are pictures of its largest size."""
    count = getattr(image, "n_frames", 1)
    check_size(1, 1, count)
    sizes = {}
    for page in range(count):
        image.seek(page)
        if not image.tag_v2.get(_SUBFILE_TYPE, 0) & _MASK:
            sizes[page] = image.size
    largest = max(sizes.values(), key=lambda size: size[0] * size[1], default=image.size)
    return [page for page, size in sizes.items() if size == largest] or [0]


def _geometry(image: Any) -> Geometry:
    """How a picture is shown: by its EXIF orientation, and by its resolutions across and down."""
    written = image.info.get("dpi") or image.info.get("resolution") or image.info.get("aspect")
    if written is None and image.info.get("jfif_unit") == 0:
        written = image.info.get("jfif_density")
    across, down = (float(value) for value in written or (1, 1))
    aspect = down / across if across > 0 and down > 0 else 1.0
    if image.format == "TIFF":  # which Pillow turns itself
        return Geometry(aspect)
    return Geometry(aspect, *_ORIENTATIONS.get(_orientation(image), (False, 0)))


def _orientation(image: Any) -> int:
    """The EXIF orientation, 1 to 8; 1 is as stored."""
    if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode all of it to look for it behind
        return 1
    try:
        return int(image.getexif().get(Exif.Orientation, 1))
    except Exception:  # damaged EXIF says nothing of the picture
        return 1


def _decoded(image: Any, path: Path, page: int, colour: bool, depth: int) -> tuple[Pixels, Pixels | None]:
    """(H, W) grey or luma, or (H, W, 3) RGB, of one page as it is shown; and the chroma of luma."""
    with _refusing_damage():
        image.seek(page)
        check_size(image.height, image.width, 1)
        geometry = _geometry(image)
        if _is_deep(image) or _is_misread(image):
            return geometry.show(_reduced(_values(image, path, page), depth))
        if not colour and image.mode == "RGB" and image.draft("YCbCr", image.size):
            planes = np.asarray(image)  # a JPEG's luma and chroma as they lie
            return geometry.show(planes[..., 0], planes[..., 1:])
        return geometry.show(_to_uint8(image))


def _is_deep(image: Any) -> bool:
    """Whether values have more than 8 bits, which Pillow cuts off where there is colour."""
    return image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in image.tile)


def _is_misread(image: Any) -> bool:
    """Whether Pillow takes width for height: in an uncompressed TIFF that lies on its side."""
    return image.format == "TIFF" and _orientation(image) >= _LYING and any(tile[0] == "raw" for tile in image.tile)


def _values(image: Any, path: Path, page: int) -> NDArray[Any]:
    """(H, W) or (H, W, c) values as they are stored, but black at 0; those of a TIFF are turned."""
    if image.mode.startswith("I") and not _is_misread(image):
        values = np.maximum(np.asarray(image).astype(np.int64), 0)
    else:
        _, pages = cv2.imdecodemulti(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED, range=(page, page + 1))
        values = np.asarray(pages[0])
        if values.ndim == 3:
            values = values[..., [2, 1, 0, 3][: values.shape[2]]]
    if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0:
        values = (1 << _depth(values)) - 1 - values.astype(np.int64)
    return values


def _depth(values: NDArray[Any]) -> int:
    """How many bits are in use: cameras and converters put 10 or 12 into 16."""
    used = int(values[..., :3].max(initial=0) if values.ndim == 3 else values.max(initial=0)).bit_length()
    return next((depth for depth in _DEPTHS if depth >= used), used)


def _reduced(values: NDArray[Any], depth: int) -> Pixels:
    """The upper 8 of the bits in use, `depth` at least; transparency lies on black."""
    shift = max(depth, _depth(values)) - 8
    if values.ndim == 3 and values.shape[2] == 4:
        alpha = values[..., 3:] >> (8 * values.itemsize - 8)
        return on_black(np.dstack([values[..., :3] >> shift, alpha]).astype(np.uint8))
    return np.ascontiguousarray(values >> shift, np.uint8)


def _to_uint8(image: Any) -> Pixels:
    """A Pillow image of 8 bits as (H, W) or (H, W, 3); transparency lies on black.

    Raises:
        Rejected: floating-point images, whose range nobody knows.
    """
    if image.mode == "F":
        raise Rejected("unsupported", "floating-point images have no known grey range: save it with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return on_black(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("L" if image.mode in ("L", "1") else "RGB"))
