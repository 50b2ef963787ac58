"""The kind of array that views work on."""

from typing import Any

from numpy.typing import NDArray

Image = NDArray[Any]
"""(H, W) uint8, 0 to 255; the element type is left open because OpenCV's stubs do."""
