"""Every threshold of cleaning: its unit, where its value came from, and what changes with it.

They are not options, because the results in docs/results/cleaning.md hold for these values alone; options are in
`CleaningConfig`. Before and after a change, run `python benchmarks/cleaning.py OUT --seed N` with a seed that no value
was set on; if stored frames change, raise `VERSION` in `sonolearn.store.store`. Where an effect names no figure, it
follows from the rule that uses the value and was not measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

TRIALS = "set on the 200 trial scans of seed 0"
ODD = "set on the odd kinds of trial scans of seed 0"
LUNG = "measured on the candidate marks of 74 lung cines and 60 trial scans"
REAL = "set by eye on public recordings: lung clips, screens, HC18, DICOM test files"
COPIES = "measured on harsh copies of stills, other stills of one exam, and two exams"
COST = "chosen for time or memory; the result hardly depends on it"
STANDARD = "DICOM PS3.3 C.8.5.5.1.1"
SOURCES = (TRIALS, ODD, LUNG, REAL, COPIES, COST, STANDARD)

T = TypeVar("T")


def _of(value: T, unit: str, source: str, meaning: str, effect: str) -> T:
    return field(default=value, metadata={"unit": unit, "source": source, "meaning": meaning, "effect": effect})


# fmt: off
@dataclass(frozen=True)
class PiecesThresholds:
    """Cutting a recording into runs of frames of one layout."""

    frames: int = _of(48, "frames", TRIALS, "longest run that is examined at once", "fewer: tissue at rest seems drawn")
    bytes: int = _of(96_000_000, "bytes", COST, "memory from which on a run ends early", "lower: shorter runs")
    fewest: int = _of(4, "frames", COST, "of a run, however large they are", "fewer: movement shows in fewer frames")
    cells: tuple[int, int] = _of((32, 24), "cells", TRIALS, "columns and rows in which two screens are compared",
        "more: a probe that moves counts as a new layout")
    differs: int = _of(20, "grey levels", TRIALS, "by which a cell changes", "lower: gain counts as a new layout")
    changed: float = _of(0.3, "share of the cells", TRIALS, "that change with the layout",
        "lower: a moving probe cuts the recording; higher: a new layout keeps the old sector")


@dataclass(frozen=True)
class EchoesThresholds:
    """Telling echoes from text, bars and the empty screen."""

    contrast: int = _of(12, "grey levels", TRIALS, "between echoes and the empty screen",
        "higher: dark tissue is lost; lower: noise of the screen is taken in")
    faint: int = _of(3, "grey levels", REAL, "the same, of the faintest echoes", "higher: the far field is cut off")
    moving: int = _of(6, "grey levels", TRIALS, "by which a pixel of a cine changes, beyond compression",
        "lower: compression counts as movement")
    moving_cell: int = _of(96, "of 255", TRIALS, "share of a scaled-down pixel that moves", "higher: less moves")
    cine: float = _of(0.02, "share of the picture", TRIALS, "that moves in a cine", "higher: cines count as stills")
    flat: float = _of(0.2, "grey levels per px", TRIALS, "mean step up to which nothing was measured",
        "higher: smooth tissue counts as a bar of the screen")
    rough: float = _of(1.0, "grey levels per px", TRIALS, "mean step from which on it is speckle",
        "higher: smooth tissue is lost; lower: shaded bars are taken in")
    thin: int = _of(20, "parts of the shorter side", TRIALS, "what is thinner is text, a ruler or a trace",
        "more: rulers are taken in; fewer: a narrow near field is lost")
    window: int = _of(40, "parts of the shorter side", TRIALS, "neighbourhood of which most must be speckle",
        "more: text counts as speckle; fewer: rounder outlines")
    letter: int = _of(60, "parts of the shorter side", TRIALS, "strokes of letters are thinner",
        "more: letters beside the picture join it")
    corner: int = _of(20, "parts of the shorter side", TRIALS, "how far rounded corners lie from an area",
        "fewer: text near the picture joins it; more: corners are lost")
    solid: int = _of(25, "parts of the shorter side", ODD, "moving parts that are thinner are traces and clocks",
        "more: traces join the picture")
    large: float = _of(0.15, "share of the largest area", TRIALS, "that a further area of the picture has",
        "higher: a part behind a shadow is lost; lower: panels are taken in")
    part: float = _of(0.01, "share of the largest area", TRIALS, "that a part cut off by a shadow has",
        "lower: specks of the screen widen the outline")
    smallest: float = _of(0.025, "share of the screen", ODD, "that a picture takes: 3.6 % on a wide screen, text less",
        "higher: small pictures are refused; lower: pages of text are kept")
    longest: float = _of(4, "longer by shorter side", TRIALS, "of a picture, at most", "higher: strips are kept")
    tiny: int = _of(16, "px", COST, "side of a screen on which nothing can be told", "higher: tiny stills are refused")


@dataclass(frozen=True)
class SectorThresholds:
    """Choosing the outline, and checking the machine's own regions."""

    work: int = _of(384, "px", COST, "longer side at which pictures are examined", "higher: slower, finer outlines")
    region_side: int = _of(16, "px", COST, "of a region that is looked at, at least", "higher: small regions are lost")
    region_beyond: int = _of(2, "px", REAL, "by which regions end outside of the picture in many files",
        "lower: good regions are dropped")
    whole: float = _of(0.95, "share of the screen", REAL, "from which on a region is the whole screen",
        "changes only what `sector_from` says")
    filled: float = _of(
        0.002, "share of the region", REAL, "that must hold echoes", "lower: wrong regions are believed"
    )
    unsure: float = _of(0.03, "cost", TRIALS, "by which the outline of a still's large areas must be better",
        "lower: parts behind shadows are cut off")
    rest: float = _of(0.01, "share of the rough areas", ODD, "left outside before a wider outline is tried",
        "higher: tissue at rest is cut off")
    gained: float = _of(0.02, "cost", ODD, "that this wider outline may have more", "higher: still panels are taken in")
    unclear: float = _of(0.1, "cost", TRIALS, "from which on the whole box is kept",
        "higher: bad outlines lose echoes; lower: text stays in the corners")
    stray: float = _of(0.03, "share of the echoes", TRIALS, "outside a sector that counts as the same",
        "lower: the sector is fitted anew more often, and jumps")
    stays: float = _of(0.4, "share of the sector", TRIALS, "that echoes must fill for it to count as the same",
        "higher: dark frames get a sector of their own")
    header: float = _of(0.1, "share of its height", REAL, "how far down a line of text over the picture reaches",
        "higher: labels on the picture cut it off")
    line: int = _of(3, "width by height, and letters", REAL, "of a line of text, at least",
        "lower: layers of skin are cut off")
    letter: int = _of(60, "grey levels", REAL, "by which its letters stand out", "lower: speckle counts as letters")
    dash: float = _of(1.5, "width by height", ODD, "from which on a piece is a line of skin and no letter",
        "higher: skin is cut off; lower: wide letters stay")
    even: int = _of(8, "grey levels", REAL, "by which half of the ground between letters departs from its median",
        "higher: echoes count as the ground of text")


@dataclass(frozen=True)
class OutlineThresholds:
    """Fitting a fan, a quadrilateral or a hull to a mask of echoes."""

    missed: float = _of(3.0, "cost per px", TRIALS, "of an echo left out", "higher: outlines grow")
    dark: float = _of(0.35, "cost per px", TRIALS, "of a black pixel among echoes taken in",
        "higher: fans lose their black far field")
    beyond: float = _of(1.0, "cost per px", TRIALS, "of a pixel beyond all echoes taken in", "higher: outlines shrink")
    slack_quadrilateral: float = _of(0.01, "cost", TRIALS, "by which it must be better than a fan",
        "higher: linear pictures become fans")
    slack_hull: float = _of(0.06, "cost", TRIALS, "by which the hull must be better than a fan",
        "lower: hulls cut black corners off")
    flat_side: float = _of(0.3, "share of a side of the box", TRIALS, "that echoes reach where the display ends",
        "lower: fans are cut off at their widest")
    finer: int = _of(5, "steps per px", COST, "in which an outline is drawn", "fewer: masks are up to half a px larger")
    hull_corner: float = _of(0.008, "share of the way around", TRIALS, "to which the hull is simplified",
        "higher: sides of fans bend")
    long_edge: float = _of(0.06, "share of the way around", TRIALS, "of an edge that may be a side of a fan",
        "lower: more fans are tried, which takes longer")
    parallel: float = _of(0.1, "sine of the angle", TRIALS, "below which two edges meet nowhere",
        "higher: narrow fans are not tried")
    across: float = _of(0.1, "ratio", TRIALS, "how far an edge may reach behind the apex, by its other end",
        "lower: fans with a worn apex are not tried")
    opening: tuple[float, float] = _of((0.1, 2.4), "radians", TRIALS, "of a fan", "wider: more fans are tried")
    ends: tuple[float, float] = _of((0.3, 99.7), "percentiles", TRIALS, "of the echoes' distance from the apex, at "
        "which a fan begins and ends at first", "changes only where the search starts")
    starts: int = _of(2, "fans", COST, "that are refined", "more: slower; fewer: the worse of two fits may stay")
    steps: int = _of(250, "evaluations", COST, "of each at half size", "fewer: worse fits; more: slower")
    last_steps: int = _of(90, "evaluations", COST, "of the best at full size", "fewer: sides are off by a px")
    upright: float = _of(0.3, "ratio of angles", ODD, "of a half picture: its inner side by the outer one",
        "higher: slanted whole fans are mirrored")
    widest: float = _of(1.0, "radians", ODD, "of its outer side", "higher: wide whole fans are mirrored")
    side: float = _of(0.08, "share of the opening", ODD, "of the band along a side whose grey is measured",
        "higher: fading within the picture counts")
    inner: tuple[float, float] = _of((0.2, 0.4), "shares of the opening", ODD, "the band it is compared with",
        "further in: fading counts sooner")
    outer: tuple[float, float] = _of((0.6, 0.8), "shares of the opening", ODD, "the same at the outer side",
        "further in: shaded whole fans are not mirrored")
    faded: float = _of(0.42, "ratio of grey", ODD, "of the two bands, from which on the picture goes on in the dark",
        "higher: shadowed whole fans are mirrored")


@dataclass(frozen=True)
class LayoutThresholds:
    """Telling one picture from several, from strips and from pages."""

    strips: tuple[int, int] = _of((2, 3), "RegionSpatialFormat", STANDARD, "M-mode and spectral Doppler",
        "further formats: waveforms below the picture refuse it")
    least_strip: float = _of(0.08, "share of the screen", TRIALS, "that such a region takes",
        "lower: ECG strips refuse the frame")
    one_picture: float = _of(0.05, "misfit", TRIALS, "up to which one outline explains one area",
        "lower: fans with shadows are cut in two")
    two_pictures: float = _of(0.08, "cost", TRIALS, "of one outline around two areas, from which on they are two",
        "lower: a shadow makes two pictures of one")
    alike: float = _of(0.35, "ratio of areas", TRIALS, "of a second picture to the first",
        "higher: small second pictures are cut into one sector")
    panel: float = _of(0.08, "share of the largest area", TRIALS, "of a further picture or strip",
        "lower: logos count as pictures")
    wide: float = _of(1.3, "width by height", TRIALS, "of a strip", "lower: halves of a picture count as strips")
    rectangular: float = _of(0.88, "share of its box", ODD, "that the hull of a strip fills",
        "higher: strips with traces are kept; lower: parts of fans count as strips")
    overlap: float = _of(0.1, "share of a side", TRIALS, "by which pictures and strips may overlap or be set off",
        "higher: parts of one picture count as several")
    sides: tuple[float, float] = _of((0.85, 1.18), "ratio of sides", TRIALS, "of two pictures of a split screen",
        "wider: halves that a shadow parts count as two pictures")
    same: float = _of(0.85, "overlap of outlines", TRIALS, "of two pictures of a split screen",
        "lower: halves that a shadow parts count as two pictures")
    lit: int = _of(25, "grey levels", TRIALS, "by which something can be seen on a screen without a picture",
        "changes only which reason is given")
    page: float = _of(0.04, "share of the screen", TRIALS, "that a page of text covers",
        "changes only whether it is called menu, dark or blank")
    faint: int = _of(3, "grey levels", TRIALS, "of the faintest echoes", "changes only dark or blank")
    trace: float = _of(0.007, "share of the screen", TRIALS, "that faint echoes cover",
        "changes only whether it is called dark or blank")


@dataclass(frozen=True)
class ColourThresholds:
    """Telling colour from the tint of a grey picture."""

    coloured: int = _of(22, "levels of chroma", ODD, "from which on a pixel is coloured",
        "higher: pale marks and slow flow are missed; lower: compression counts as colour")
    levels: int = _of(16, "bins of luma", TRIALS, "in which a tint is measured", "fewer: steep tints seem coloured")
    level: float = _of(0.005, "share of the pixels", TRIALS, "that a bin needs", "lower: bright ink counts as tint")
    lit: int = _of(
        30, "grey levels", TRIALS, "from which on a tint shows", "higher: dark tints seem coloured"
    )
    tinted: int = _of(3, "levels of chroma", TRIALS, "up to which nothing is tinted: rounding and compression",
        "higher: weak tints seem coloured")
    patch: float = _of(0.003, "share of the sector", TRIALS, "that a patch of flow covers", "lower: arrows are flow")
    thick: float = _of(0.02, "share of the shorter side", TRIALS, "that areas are thicker than, and strokes thinner",
        "higher: small vessels are kept; lower: thick ink is Doppler")


@dataclass(frozen=True)
class FlowThresholds:
    """Which frames show colour Doppler."""

    one_colour: float = _of(10, "times", ODD, "as much colour is Doppler in a still, where it may be ink",
        "higher: flow of one colour is kept in stills")
    varied: float = _of(12, "levels of chroma", ODD, "standard deviation in a patch of flow; ink has one colour",
        "higher: flow in stills is kept; lower: coloured text is Doppler")
    little: float = _of(0.0008, "share of the sector", ODD, "of a patch of many colours in few frames",
        "lower: rims of ink are Doppler")
    much: float = _of(0.03, "share of the sector", ODD, "in colour that nobody draws",
        "lower: stills with much ink are Doppler")
    tiles: int = _of(8, "tiles a side", ODD, "in which dither is looked for", "more: an ECG seems dithered")
    sprinkled: float = _of(0.02, "share of a tile", ODD, "in colour from which on it may be dithered",
        "lower: compression seems dithered")
    everywhere: float = _of(0.4, "share of the tiles", ODD, "from which on a frame is dithered",
        "lower: an ECG seems dithered (F1 of Doppler .878 for .985 on seed 5)")
    blur: int = _of(9, "px", ODD, "over which the colours of dither cancel out", "lower: dithered GIFs are Doppler")
    pause: int = _of(12, "frames", ODD, "for which flow may pause in a Doppler box", "lower: frames of it are kept")
    end: int = _of(3, "frames", ODD, "the same at the ends of a run", "higher: good frames beside Doppler are lost")
    steady: int = _of(14, "levels of chroma", ODD, "by which the colour of graphics changes at most",
        "lower: coloured callipers are flow")
    fewest_known: int = _of(3, "frames", ODD, "with colour before anything counts as steady", "fewer: flow is graphics")
    box: float = _of(0.02, "share of the sector", ODD, "that a Doppler box surrounds", "lower: letters are boxes")
    full: float = _of(0.75, "share of its hull", ODD, "that a Doppler box fills", "lower: dotted ellipses are boxes")
    four_sided: float = _of(0.75, "share of its hull", ODD, "that four of its corners fill; of an ellipse .64",
        "lower: drawn ellipses are Doppler boxes")
    corner: float = _of(0.04, "share of the way around", ODD, "by which sides of a box bend at most",
        "lower: boxes of a convex probe are missed")


@dataclass(frozen=True)
class FramesThresholds:
    """What a single frame shows: nothing, a rendering, the frame before."""

    blank: int = _of(
        10, "grey levels", TRIALS, "between which all of a blank frame lies", "higher: dark ones are blank"
    )
    frozen_step: int = _of(3, "grey levels", TRIALS, "by which compression changes a frozen frame",
        "higher: slow movement seems frozen")
    frozen_lit: int = _of(12, "grey levels", TRIALS, "from which on a pixel counts as an echo", "higher: fewer count")
    frozen_changed: float = _of(0.02, "share of the echoes", TRIALS, "that change in a frozen frame: callipers",
        "higher: a probe at rest seems frozen; lower: frozen frames are kept")
    rendering_lit: int = _of(40, "grey levels", TRIALS, "of the surface of a rendering", "higher: dark ones are kept")
    shades: int = _of(60, "grey levels", TRIALS, "of a shaded surface", "lower: coloured pages are renderings")
    shade: float = _of(0.0005, "share of the screen", TRIALS, "of each of them; text has fewer",
        "lower: text counts as shades")
    smooth: float = _of(0.05, "share of the mean grey", TRIALS, "by which a surface departs from its surroundings",
        "higher: tinted speckle is a rendering")
    rendering_tint: int = _of(14, "levels of chroma", TRIALS, "of the tint of a rendering",
        "lower: tinted smooth pictures are renderings")


@dataclass(frozen=True)
class MarksThresholds:
    """What stands still over the tissue of a cine."""

    fewest: int = _of(6, "frames", TRIALS, "below which standing still means nothing", "fewer: tissue is filled")
    window: int = _of(12, "frames", TRIALS, "that tell what stands still from what moves", "fewer: tissue is filled")
    long: float = _of(1.5, "s", TRIALS, "after which tissue has moved",
        "shorter: tissue at rest is filled; longer: marks that come and go stay")
    most: float = _of(0.25, "share of the sector", TRIALS, "that marks cover at most: more is noise or a palette",
        "lower: large boxes stay; higher: noisy frames are filled")
    lit: int = _of(30, "grey levels", TRIALS, "from which on a pixel is an echo at some time", "higher: fewer count")
    moves: int = _of(10, "grey levels", TRIALS, "median change of tissue that moves",
        "higher: marks on quiet tissue stay; lower: tissue at rest is filled")
    stroke: float = _of(1 / 45, "share of the shorter side", TRIALS, "that no stroke is thicker than",
        "higher: bright tissue stands out, too")
    stands_out: int = _of(18, "grey levels", TRIALS, "by which a mark is brighter than its surroundings at all times",
        "higher: marks on bright tissue stay")
    rim: int = _of(8, "grey levels", TRIALS, "the same of a mark's rim", "higher: a halo of the mark stays")
    still: int = _of(12, "grey levels", TRIALS, "by which compression changes a mark at most",
        "lower: marks of strongly compressed videos stay")
    drawn: int = _of(140, "grey levels", LUNG, "that a mark reaches: the dimmest ink of trials reaches 146",
        "higher: dim ink stays; lower: half of what stands still near the probe is filled")
    stiller: float = _of(0.3, "ratio of change", LUNG, "of a mark to its ground: 0 to .2 in trials, .5 of tissue",
        "higher: tissue at rest is filled; .35 fills twice as much of it")
    dark_ground: int = _of(30, "grey levels", LUNG, "up to which a still ground hides no tissue",
        "higher: tissue at rest on dark ground is filled")
    flat_ground: float = _of(5, "grey levels", LUNG, "spread of such a ground", "higher: tissue at rest is filled")
    sharp: float = _of(0.85, "share of its height", TRIALS, "that a stroke has lost 2 px from its rim",
        "higher: smooth letters stay; lower: skull is filled: on 492 of 868 heads without this rule, on 24 with it")
    around: int = _of(4, "px", TRIALS, "around a stroke in which its rim is looked for", "fewer: outlines stay")
    nearby: int = _of(8, "px", LUNG, "around a stroke in which its ground is looked for", "more: other tissue counts")
    box_even: int = _of(6, "grey levels", TRIALS, "by which a box behind text differs from its median",
        "higher: dark tissue beside text is filled")
    box_ground: float = _of(0.1, "share of the words' rectangle", TRIALS, "that a box behind them shows",
        "higher: boxes full of text stay")
    box_full: float = _of(0.8, "share of its rectangle", TRIALS, "that a box fills", "lower: still tissue is a box")
    box_largest: float = _of(0.15, "share of the picture", TRIALS, "that a box covers at most", "higher: slower")


@dataclass(frozen=True)
class InkThresholds:
    """Strokes of pictures in which nothing moves."""

    stands_out: int = _of(55, "grey levels", REAL, "by which a stroke stands out",
        "higher: ink on bright tissue stays; lower: bright tissue is filled")
    stroke: float = _of(1 / 80, "share of the shorter side", TRIALS, "that no stroke of a still is thicker than",
        "higher: skull and skin are filled")
    level: int = _of(190, "grey levels", TRIALS, "of ink", "higher: grey ink stays; lower: tissue is filled")
    spread: int = _of(14, "grey levels", TRIALS, "between the 45th and 95th percentile of a stroke",
        "higher: tissue is filled; lower: anti-aliased ink stays")
    outline: int = _of(7, "px", TRIALS, "that dark outlines of letters are thinner than", "lower: outlines stay")
    smallest: int = _of(4, "px", TRIALS, "area of the box around a stroke", "higher: dots stay")
    longest: float = _of(0.3, "share of the shorter side", TRIALS, "of a connected stroke",
        "higher: skull and skin are filled; lower: long lines stay")


@dataclass(frozen=True)
class WordsThresholds:
    """What may be a word: shown to a person who looks for names."""

    gap: int = _of(6, "px", TRIALS, "that letters of a word are apart at most, and tall at least",
        "higher: words run together")
    heights: tuple[int, int] = _of((5, 20), "px", REAL, "of letters, or a tenth of the picture",
        "wider: specks and callipers are words")
    wide: float = _of(1.5, "width by height", TRIALS, "of a word", "higher: short words are not shown")
    ink: tuple[float, float] = _of((0.2, 0.9), "share of its box", TRIALS, "that is ink", "wider: lines are words")
    side_by_side: float = _of(0.25, "share of its rows", TRIALS, "that meet more than one stroke",
        "lower: grains of speckle are words (35 for 17 false ones on seed 5)")


@dataclass(frozen=True)
class FillThresholds:
    """Filling marks from their surroundings."""

    radius: int = _of(3, "px", TRIALS, "around a pixel that it is filled from", "higher: smoother and slower")
    margin: int = _of(5, "px", COST, "around a mark that are looked at", "lower than the radius: worse filling")
    join: int = _of(9, "px", COST, "between marks that are filled together", "higher: fewer, larger boxes")
    together: int = _of(3, "frames", COST, "with the same marks filled at once: the channels of one picture",
        "other values: OpenCV fills one or three channels only")


@dataclass(frozen=True)
class SimilarThresholds:
    """When two frames or two stills show the same."""

    near: int = _of(40, "of 256 bits", COPIES, "by which prints of one still differ: harshest copies 40, exams 50 up",
        "higher: more pairs are compared in full; lower: harsh copies are missed")
    alike: float = _of(0.96, "correlation", COPIES, "of one still: copies .98 up (.95 if halved, cropped and "
        "compressed at once), other stills of an exam up to .952", "lower: neighbouring frames are one still")
    waves: int = _of(16, "frequencies of each axis", COPIES, "in a print", "more: prints of copies differ more")
    coarse: int = _of(64, "px", COPIES, "side from which a print is made", "higher: slower; lower: aliasing")
    block: int = _of(2048, "prints", COST, "compared with as many others at once: 16 MB", "higher: more memory")
    fine: int = _of(128, "px", COPIES, "side at which pictures are compared", "lower: speckle no longer shows")
    tiles: int = _of(8, "tiles a side", COPIES, "compared one by one", "fewer: a box of text counts for more")
    flat: float = _of(3.0, "grey levels", COPIES, "spread of a tile that shows nothing", "higher: fewer tiles count")
    fewest: int = _of(4, "tiles", COPIES, "that must show something", "higher: small pictures are never alike")
    thumbnail: int = _of(32, "px", COST, "side at which frames of a scan are compared", "higher: speckle is change")
# fmt: on


@dataclass(frozen=True)
class Thresholds:
    """All of them."""

    pieces: PiecesThresholds = PiecesThresholds()
    echoes: EchoesThresholds = EchoesThresholds()
    sector: SectorThresholds = SectorThresholds()
    outline: OutlineThresholds = OutlineThresholds()
    layout: LayoutThresholds = LayoutThresholds()
    colour: ColourThresholds = ColourThresholds()
    flow: FlowThresholds = FlowThresholds()
    frames: FramesThresholds = FramesThresholds()
    marks: MarksThresholds = MarksThresholds()
    ink: InkThresholds = InkThresholds()
    words: WordsThresholds = WordsThresholds()
    fill: FillThresholds = FillThresholds()
    similar: SimilarThresholds = SimilarThresholds()


THRESHOLDS = Thresholds()
