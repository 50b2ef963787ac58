"""What the statistics say in sentences, a paragraph an encoder and mode. They claim no more than is `shown`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from sonolearn.study.statistics.analysis import Statistics
from sonolearn.study.statistics.comparisons import Comparison
from sonolearn.study.statistics.ranks import Ranks
from sonolearn.study.statistics.recommendation import Recommendation
from sonolearn.study.statistics.sentences import figures, p_value
from sonolearn.study.statistics.variance_words import verdict, widest
from sonolearn.study.words import MODES, counted, listed, percent


def paragraphs(statistics: Statistics) -> dict[tuple[str, str], str]:
    """Encoder and mode with their paragraph: on what it rests, which to use, ranks, pools, and what limits all that."""
    table = statistics.trainings.table
    keys = sorted(set(zip(table["encoder"], table["mode"], strict=True)))
    return {key: " ".join(_paragraph(statistics, *key)) for key in keys}


class _Of(Protocol):
    """A result of one encoder and mode."""

    @property
    def encoder(self) -> str: ...
    @property
    def mode(self) -> str: ...


_Result = TypeVar("_Result", bound=_Of)


def _of(results: Sequence[_Result], encoder: str, mode: str) -> list[_Result]:
    return [result for result in results if (result.encoder, result.mode) == (encoder, mode)]


def _paragraph(statistics: Statistics, encoder: str, mode: str) -> list[str]:
    answers, ranks = (_of(statistics.recommendations, encoder, mode), _of(statistics.ranks, encoder, mode))
    pools = {answer.pool for answer in answers}
    return [
        *_basis(statistics, encoder, mode),
        *(_on(answer.pool, pools, recommended(answer)) for answer in answers),
        *_against(_of(statistics.against, encoder, mode)),
        *(_on(one.pool, pools, ranked(one)) for one in ranks),
        *(verdict(effect) for effect in widest(_of(statistics.pools, encoder, mode))),
        *_limits(statistics, encoder, mode),
    ]


def _basis(statistics: Statistics, encoder: str, mode: str) -> list[str]:
    table = statistics.trainings.table
    table = table[(table["encoder"] == encoder) & (table["mode"] == mode)]
    pretrained = table[table["pretrain_seed"].notna()]
    per_cell = pretrained.groupby(["name", "fraction"])["pretrain_seed"].nunique()
    seeds = table.groupby(["name", "fraction"])["seed"].nunique()
    numbers = [
        counted(table["name"].nunique(), None, "initialisation"),
        counted(table["fraction"].nunique(), None, "label fraction"),
        f"{counted(int(seeds.min()), int(seeds.max()), 'seed')} each",
    ]
    if len(per_cell):
        numbers.append(f"{counted(int(per_cell.min()), int(per_cell.max()), 'pre-training')} each where there is one")
    images = counted(int(table["test_images"].max()), None, "image")
    tested = f"tested on {counted(statistics.trainings.patients, None, 'patient')} ({images})"
    return [f"{MODES[mode]} of {encoder}: {counted(len(table), None, 'training')} ({listed(numbers)}), {tested}."]


def _on(pool: str, pools: set[str], sentence: str) -> str:
    return f"On the pool {pool}: {sentence[0].lower()}{sentence[1:]}" if len(pools) > 1 else sentence


def recommended(answer: Recommendation) -> str:
    """Which initialisation to use, with its uncertainty, or between which no difference is shown."""
    at = f"At {percent(answer.fraction)} of the labels" if answer.fraction is not None else _together(answer.fractions)
    at += ", among these very encoders" if answer.one_pretraining else ""
    leader, *others = answer.candidates
    first = math.floor(100 * answer.first[0] + 1e-9)  # cut, so that 99.9 % do not become all
    share = f"{leader} came first in {first} % of the redrawn studies"
    lower = [name for name in answer.names if name not in answer.candidates]
    if not others and answer.decisive:
        nearest = answer.decisive
        name = nearest.other if nearest.initialisation == leader else nearest.initialisation
        than = name if len(lower) == 1 else f"each of the {len(lower)} others; the nearest is {name}"
        return (
            f"{at}, {leader} (macro F1 {answer.means[0]:.3f}) is shown to do better than {than} "
            f"({figures(nearest, turned=nearest.initialisation != leader)}); {share}."
        )
    below = f"{listed(lower)} {'is' if len(lower) == 1 else 'are'} shown to be below {leader}." if lower else ""
    shown = f" {below[0].upper()}{below[1:]}" if below else ""
    means = dict(zip(answer.names, answer.means, strict=True))
    named = listed([f"{name} ({means[name]:.3f})" for name in others]).replace(" and ", " or ")
    between = f"no difference is shown between {leader} (macro F1 {answer.means[0]:.3f}) and {named}"
    return f"{at}, {between}; {share}.{shown}"


def _together(fractions: int) -> str:
    return "At the one label fraction" if fractions == 1 else f"Over the {fractions} label fractions together"


def _against(comparisons: list[Comparison]) -> list[str]:
    """The comparisons with the reference, fractions together; a sentence for each pool that it has."""
    together = [comparison for comparison in comparisons if comparison.fraction is None]
    references = dict.fromkeys(comparison.other for comparison in together)
    return [_against_one([one for one in together if one.other == other]) for other in references]


def _against_one(comparisons: list[Comparison]) -> str:
    shown = [
        f"{one.initialisation} is shown to be {'higher' if one.mean > 0 else 'lower'} ({figures(one)})"
        for one in comparisons
        if one.shown
    ]
    others = [f"{one.initialisation} ({figures(one)})" for one in comparisons if not one.shown]
    if others:
        shown.append(f"no difference is shown for {listed(others)}")
    tests = comparisons[0].tests
    notes = [f"corrected for {counted(tests, None, 'comparison')}"] if tests else ["no interval"]
    notes += ["these very encoders"] if any(one.one_pretraining for one in comparisons) else []
    return f"Against {comparisons[0].other} ({', '.join(notes)}): {'; '.join(shown)}."


def ranked(ranks: Ranks) -> str:
    """Mean ranks, and whether a test tells them apart."""
    named = [f"{name} {rank:.1f}" for name, rank in zip(ranks.names, ranks.described, strict=True)]
    start = f"Mean ranks over {counted(ranks.described_blocks, None, 'block')} (fraction and unit): {listed(named)}."
    if not ranks.described_blocks:
        return "There is no complete block, hence no ranks."
    if math.isnan(ranks.p):
        return f"{start} They are {ranks.read_as}." if ranks.blocks < 2 else start
    units = counted(ranks.blocks, None, "unit")
    test = f"Friedman's test over {units}: {p_value(ranks.p)}, critical difference {ranks.critical_difference:.1f}"
    if ranks.p >= 0.05:
        return f"{start} {test}; no difference of ranks is shown."
    return f"{start} {test}; {_cliques(ranks)}."


def _cliques(ranks: Ranks) -> str:
    if not ranks.cliques:
        return "all ranks are told apart"
    if len(ranks.cliques[0]) == len(ranks.names):
        return "the test finds some difference, but no two ranks are told apart"
    return f"not told apart are {'; nor '.join(listed(list(clique)) for clique in ranks.cliques)}"


def _limits(statistics: Statistics, encoder: str, mode: str) -> list[str]:
    """What a reader must know before believing it."""
    answers = _of(statistics.recommendations, encoder, mode)
    once = sorted({name for answer in answers for name in answer.one_pretraining})
    few = sorted({name for answer in answers for name in answer.left_out})
    found = []
    if once:
        found.append(
            f"Pre-trained once: {listed(once)}; what is said of {'it' if len(once) == 1 else 'them'} holds for "
            f"{'this encoder' if len(once) == 1 else 'these encoders'}, as the spread over pre-trainings is unknown."
        )
    if few:
        found.append(f"Not considered for want of runs: {listed(few)}.")
    if statistics.trainings.patients < 2:
        found.append("One test patient gives no interval, so nothing can be shown.")
    if statistics.trainings.left_out:
        missing = counted(statistics.trainings.left_out, None, "training")
        found.append(f"In the whole study {missing} without a result had to be left out.")
    return found
