"""Weights files as people have them: read without executing anything, and fitted to a timm model by their names.

A checkpoint may hold its tensors under an entry (`state_dict`, `teacher`, ...) and under a prefix (`module.`,
`backbone.`, `module.encoder_q.`, ...). Neither is looked up in a list: every entry and prefix that holds a fair share
of the tensors is tried, and the one that fits the model best is taken.
"""

from __future__ import annotations

import argparse
import io
import pathlib
import pickle
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors import SafetensorError, safe_open
from timm.models import adapt_input_conv
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from sonolearn.console import UserError
from sonolearn.ssl.sononet import SONONETS

Tensors = dict[str, Tensor]
"""Tensors by name, as of `nn.Module.state_dict`."""

PICKLES = (".pth", ".pt", ".ckpt", ".tar", ".bin")
"""Endings of PyTorch's own files; any other file is read as safetensors."""

# Beside tensors, checkpoints hold the options of their training and its best score. Making these objects runs nothing.
_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    argparse.Namespace, pathlib.PosixPath, np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]  # fmt: skip

_COUNTER = "num_batches_tracked"

# A name that tells the layout, and how its names are written in timm, where timm has no conversion of its own.
_LAYOUTS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    # torchvision's ViT
    ("encoder.pos_embedding", (
        (r"^class_token$", "cls_token"), (r"^encoder\.pos_embedding$", "pos_embed"),
        (r"^conv_proj\.", "patch_embed.proj."), (r"^encoder\.ln\.", "norm."), (r"^heads\.", "head."),
        (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."), (r"\.ln_(\d)\.", r".norm\1."),
        (r"\.self_attention\.in_proj_", ".attn.qkv."), (r"\.self_attention\.out_proj\.", ".attn.proj."),
        (r"\.mlp\.(linear_1|0)\.", ".mlp.fc1."), (r"\.mlp\.(linear_2|3)\.", ".mlp.fc2."),
    )),
    # DINOv2 with its blocks in chunks
    ("blocks.0.0.norm1.weight", ((r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),)),
)  # fmt: skip

_TRANSFORMER_PARTS = (
    "cls_token", "dist_token", "reg_token", "register_tokens", "storage_tokens", "pos_embed", "rel_pos_bias",
    "norm_pre",
)  # fmt: skip
"""A transformer that was trained with them computes something else without them."""

_KNOWN_BY_NAMES = (*SONONETS, "resnet50", "resnet18", "resnet34", "resnet101")
"""Backbones that are recognised by the names and shapes of their tensors, and have one normalisation each."""
_SUGGESTED = (
    *_KNOWN_BY_NAMES, "vit_small_patch16_224", "vit_base_patch16_224", "vit_small_patch14_dinov2",
    "vit_base_patch14_dinov2", "vit_large_patch14_clip_224", "convnext_tiny", "efficientnet_b0",
    "tf_efficientnet_lite0", "densenet121", "mobilenetv3_large_100",
)  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """How the tensors of a file fit a model."""

    weights: Tensors
    """Those that fit, by the model's names."""
    wanted: int
    """How many tensors the model has."""
    missing: list[str]
    """Tensors of the model that the file lacks."""
    wrong: list[str]
    """Tensors of other shapes than the model's, and those of parts of the model that it has no place for."""
    left: Counter[str]
    """Tensors of other parts (a projector, a classifier, a momentum encoder), counted by part."""
    entry: str
    """Where in the checkpoint the tensors lie; "" for its top."""
    prefix: str
    """What their names begin with."""

    @property
    def complete(self) -> bool:
        """Whether the model can be loaded."""
        return not self.missing and not self.wrong

    def describe(self, name: str) -> str:
        """What was matched and what was left, for the person at the terminal."""
        places = [f"{kind} `{place}`" for kind, place in (("entry", self.entry), ("prefix", self.prefix)) if place]
        where = f" ({', '.join(places)})" if places else ""
        left = ", ".join(f"{count} of {part}" for part, count in self.left.items())
        return f"{len(self.weights)} of {self.wanted} tensors of {name}{where}; left out: {left or 'none'}"


def load_weights(model: nn.Module, path: Path, name: str) -> str:
    """Load the weights of a file into a model.

    The classifier and whatever else does not belong to the model is left out; the stem's colour channels are summed;
    position embeddings are resized to the model's image size.

    Args:
        model: a timm model with one input channel and without classifier; changed in place.
        path: a safetensors file, or a PyTorch checkpoint with an ending of `PICKLES`.
        name: the model's name in timm.

    Returns:
        One line that says what was matched and what was left.

    Raises:
        UserError: no such weights: damaged, a pickle with code, incomplete, of another architecture, not finite.
    """
    groups = read_weights(path)
    fit = find_fit(model, groups, name)
    if not fit.complete:
        raise UserError(f"{path}: {_refusal(fit, name, next(_fitting(groups, _SUGGESTED), None))}")
    broken = [key for key, tensor in fit.weights.items() if not tensor.isfinite().all()]
    if broken:
        raise UserError(
            f"{path}: {len(broken)} of its tensors, such as {broken[0]}, hold NaN or infinite numbers; take an earlier "
            "checkpoint, or get the file again"
        )
    # Only the counters of batch norms are not in the file, and nothing depends on them.
    model.load_state_dict(fit.weights, strict=False)
    return f"{path}: {fit.describe(name)}"


def read_weights(path: Path) -> dict[str, Tensors]:
    """Tensors of a file, in single precision, by the entry that they lie under, "" for the top; nothing is executed.

    Raises:
        UserError: not a file of weights, damaged, or a pickle that holds more than tensors and plain values.
    """
    if path.suffix not in PICKLES:
        try:
            with safe_open(path, framework="pt") as file:
                return {"": {name: _single(file.get_tensor(name)) for name in file.keys()}}  # noqa: SIM118 - no mapping
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: is not a safetensors file ({error}); give one, or a run folder") from error
    with safe_globals(_HARMLESS):
        try:
            return dict(_groups("", torch.load(path, map_location="cpu", weights_only=True)))
        except pickle.UnpicklingError as error:
            raise UserError(
                f"{path}: holds more than tensors{_code_in(path)}, and code in a pickle is never executed; where you "
                "trust the file, save its tensors as safetensors and give those"
            ) from error
        except (RuntimeError, EOFError, OSError) as error:
            raise UserError(
                f"{path}: is damaged, or not a checkpoint of torch.save; get it again, or save its tensors as "
                "safetensors and give those"
            ) from error


def recognise(path: Path) -> str | None:
    """The backbone whose tensors a file holds, where it is one of a few well-known ones."""
    return next(_fitting(read_weights(path), _KNOWN_BY_NAMES), None)


def find_fit(model: nn.Module, groups: Mapping[str, Tensors], name: str) -> Fit:
    """The entry and prefix whose tensors fit a model best.

    Among equal ones an averaged network (`teacher`, `ema`) wins, else the first in the file: the query encoder of MoCo,
    the online network of BYOL.

    Args:
        model: a timm model; it may lie on the meta device.
        groups: tensors by entry, as of `read_weights`.
        name: the model's name in timm.
    """
    fits = (
        _fit(model, tensors, entry, prefix, name) for entry, tensors in groups.items() for prefix in _prefixes(tensors)
    )
    return max(fits, key=_rank, default=_fit(model, {}, "", "", name))


def _rank(fit: Fit) -> tuple[bool, int, bool]:
    averaged = re.search(r"teacher|ema\b", f"{fit.entry} {fit.prefix}") is not None
    return fit.complete, len(fit.weights), averaged


def _fitting(groups: Mapping[str, Tensors], names: Sequence[str]) -> Iterator[str]:
    """Those of `names` whose models the tensors fit."""
    return (name for name in names if find_fit(_skeleton(name), groups, name).complete)


@cache
def _skeleton(name: str) -> nn.Module:
    """A model without memory for its weights."""
    with torch.device("meta"):
        model: nn.Module = timm.create_model(name, in_chans=1, num_classes=0)
    return model


def _groups(entry: str, found: object) -> Iterator[tuple[str, Tensors]]:
    """Every mapping within a checkpoint that holds tensors."""
    if not isinstance(found, Mapping):
        return
    # The keys of an optimiser's state are numbers.
    named = {name: value for name, value in found.items() if isinstance(name, str)}
    tensors = {name: _single(value) for name, value in named.items() if isinstance(value, Tensor)}
    if tensors:
        yield entry, tensors
    for name, value in named.items():
        yield from _groups(f"{entry}.{name}" if entry else name, value)


def _single(tensor: Tensor) -> Tensor:
    """Numbers in single precision, in which channels are summed and positions resized; indices as they are."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _code_in(path: Path) -> str:
    """The functions and classes that a pickle names, in brackets; "" where they cannot be read."""
    try:
        names = sorted(get_unsafe_globals_in_checkpoint(path))
    except (ValueError, RuntimeError, pickle.UnpicklingError):
        return ""
    return f" ({', '.join(names[:3])})" if names else ""


def _prefixes(tensors: Tensors) -> list[str]:
    """Beginnings of names, each ending with a dot, that an eighth of the tensors share; "" is one."""
    counts: Counter[str] = Counter()
    for name in tensors:
        parts = name.split(".")
        counts.update("".join(f"{part}." for part in parts[:depth]) for depth in range(len(parts)))
    return [prefix for prefix, count in counts.items() if 8 * count >= len(tensors)]


def _fit(model: nn.Module, tensors: Tensors, entry: str, prefix: str, name: str) -> Fit:
    """Compare what lies under `prefix` with the model."""
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items() if not key.endswith(_COUNTER)}
    tensors = {key: tensor for key, tensor in tensors.items() if not key.endswith(_COUNTER)}
    inside = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    found = _as_in_timm(inside, model, name)
    fitting = {key: found[key] for key, shape in shapes.items() if key in found and found[key].shape == shape}
    parts, left, wrong = {*map(_first, shapes), *_TRANSFORMER_PARTS}, Counter[str](), list[str]()
    for key in found:
        if key in fitting:
            continue
        if key in shapes or (_first(key) in parts and not _is_head(key, model)):
            wrong.append(key)
        else:
            left[_first(key)] += 1
    left.update(_branch(key, prefix) for key in tensors if not key.startswith(prefix))
    left += Counter({"other parts": len(inside) - len(found)})
    missing = [key for key in shapes if key not in found]
    return Fit(fitting, len(shapes), missing, wrong, left, entry, prefix)


def _as_in_timm(tensors: Tensors, model: nn.Module, name: str) -> Tensors:
    """Tensors under timm's names and in its shapes, as far as they are known; the stem for one channel."""
    if all(_first(key).isdigit() for key in tensors):
        # An nn.Sequential of the children of a network, as lightly's examples have it: timm's come in the same order.
        children = dict(enumerate(child for child, _ in model.named_children()))
        tensors = {
            ".".join([children.get(int(_first(key)), "left"), *key.split(".")[1:]]): tensor
            for key, tensor in tensors.items()
        }
    for telling, renamings in _LAYOUTS:
        if telling in tensors:
            tensors = {_renamed(key, renamings): tensor for key, tensor in tensors.items()}
    tensors = _converted_by_timm(tensors, model, name)
    stems = _settings(model).get("first_conv") or ()
    for stem in (stems,) if isinstance(stems, str) else stems:
        weight = tensors.get(f"{stem}.weight")
        if weight is not None and weight.ndim == 4 and weight.shape[1] == 3:
            tensors[f"{stem}.weight"] = adapt_input_conv(1, weight)
    return tensors


def _converted_by_timm(tensors: Tensors, model: nn.Module, name: str) -> Tensors:
    """What timm does with the published weights of this family: other names, position embeddings of other sizes."""
    module = sys.modules[timm.model_entrypoint(name).__module__]
    convert: Callable[[Tensors, nn.Module], Tensors] | None = getattr(
        module, "checkpoint_filter_fn", getattr(module, "_filter_fn", None)
    )
    if convert is None:
        return dict(tensors)
    try:
        # That for DINOv3 prints.
        with redirect_stdout(io.StringIO()):
            return dict(convert(dict(tensors), model))
    except Exception:
        # Each is written for the layouts of its family, and fails in its own way on any other; they fit as they are or
        # not at all.
        return dict(tensors)


def _renamed(key: str, renamings: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in renamings:
        key = re.sub(pattern, replacement, key)
    return key


def _first(key: str) -> str:
    return key.split(".")[0]


def _branch(key: str, prefix: str) -> str:
    """The part of a network that a name belongs to which does not begin with `prefix`: where the two part."""
    pairs = zip(key.split("."), prefix.split("."), strict=False)
    return next(part for part, other in pairs if part != other)


def _settings(model: nn.Module) -> Mapping[str, Any]:
    """How timm describes a model: which layer is the stem, which the classifier."""
    found: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    return found


def _is_head(key: str, model: nn.Module) -> bool:
    """Whether a tensor belongs to a classifier, or to what a method put in its place."""
    heads = _settings(model).get("classifier") or ()
    return key.startswith(tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads)))


def _refusal(fit: Fit, name: str, other: str | None) -> str:
    """Why weights do not fit, and the nearest remedy."""
    remedy = f"it fits a {other}: give --encoder {other}" if other else "name its own backbone with --encoder"
    if other == name.split(".")[0]:
        remedy = f"it fits a plain {name}: leave out --encoder_args and --small_stem"
    if fit.weights and not fit.wrong and not other:
        if all(_first(key) == "fc_norm" for key in fit.missing):
            return (
                f"lacks the fc_norm of a {name} that averages its tokens; add --encoder_args '{{global_pool: token}}'"
            )
        return (
            f"holds {len(fit.weights)} of the {fit.wanted} tensors of a {name}, {fit.missing[0]} is missing; get the "
            f"whole file again, or {remedy}"
        )
    odd = [*fit.wrong, *fit.missing]
    return (
        f"does not fit a {name} with these options ({len(odd)} tensors differ from its {fit.wanted}, such as "
        f"{odd[0]}); {remedy}"
    )
