"""Why a frame is left out, in a sentence for people; the words for tables and programs are those of the options."""

from __future__ import annotations

from typing import Literal

from sonolearn.config.cleaning import Reason

Verdict = Reason | Literal["alike"]

SENTENCES: dict[Verdict, str] = {
    "blank": "shows nothing: all of it is of one grey",
    "menu": "shows no ultrasound picture: a menu, a report page, or text",
    "spectral": "shows spectral Doppler or M-mode beside the picture",
    "split": "shows two or more pictures side by side",
    "rendering": "shows a 3D or 4D rendering",
    "doppler": "shows colour or power Doppler",
    "dark": "is too dark: hardly any echo can be seen",
    "small": "is too small: the ultrasound picture has too few pixels",
    "frozen": "is frozen: it repeats the frame before",
    "alike": "is nearly the same as the frame kept before it",
}
