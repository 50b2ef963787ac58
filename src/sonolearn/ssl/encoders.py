"""Encoders: any timm backbone with one grey input channel, from random weights, ImageNet, a file or a run.

A saved encoder is a safetensors file with a small card (JSON in the file's metadata) that says how to use it: the
backbone, the image size and the normalisation. Files without a card are timm's own checkpoints.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

from sonolearn.checksums import intact
from sonolearn.config import EncoderConfig
from sonolearn.console import UserError
from sonolearn.runs import plain, seed_for, writing

ENCODER_FILE = "encoder.safetensors"
DEFAULT_ENCODER = "resnet50"
DEFAULT_IMAGE_SIZE = 224


@dataclass(frozen=True)
class Card:
    """What a person or a program needs to know to use an encoder."""

    encoder: str
    """timm name."""
    encoder_args: dict[str, Any] = field(default_factory=dict)
    """More arguments of the timm model."""
    small_stem: bool = False
    """Without the stem's max-pool."""
    image_size: int | None = None
    """Side in px of the images that it was trained on; None: any."""
    mean: float = 0.5
    """Subtracted from grey values in 0 to 1 ..."""
    std: float = 0.5
    """... before they are divided by this."""
    method: str = "random"
    """How its weights came about: random, imagenet, an SSL method, or file."""


def normalise(frames: Tensor, mean: float, std: float) -> Tensor:
    """Grey values as the encoder wants them, made on the device where `frames` are.

    Args:
        frames: (N, H, W) uint8, 0 to 255.
        mean: mean of the grey values, in 0 to 1.
        std: their standard deviation.

    Returns:
        (N, 1, H, W) float32, channels last, (value / 255 - mean) / std.
    """
    images = frames.unsqueeze(1).to(torch.float32, memory_format=torch.channels_last)
    return images.sub_(255 * mean).div_(255 * std)


def load_encoder(config: EncoderConfig, seed: int) -> tuple[nn.Module, Card]:
    """Make the encoder that the options name.

    Args:
        config: which backbone, and what it starts from.
        seed: of the random weights.

    Returns:
        A timm model without classifier, (N, 1, H, W) float32 to (N, F) features, and its card; F is
        `feature_count(encoder)`.

    Raises:
        UserError: unknown backbone, no weights to be had, or weights of another architecture.
    """
    match config.init:
        case "random":
            card = Card(config.encoder or DEFAULT_ENCODER, config.encoder_args, config.small_stem)
            return build(card, seed), card
        case "imagenet":
            return _from_imagenet(config, seed)
        case _:
            return load_file(encoder_file(config.init), config, seed)


def feature_count(encoder: nn.Module) -> int:
    """Number of features F that a timm model without classifier gives for an image."""
    # Some families (MobileNet) widen the pooled features before the classifier: timm calls that the hidden size.
    return int(getattr(encoder, "head_hidden_size", None) or encoder.num_features)  # type: ignore[arg-type]


def encoder_file(init: str) -> Path:
    """The safetensors file that `--init` means: itself, or the encoder of a run folder."""
    path = Path(init)
    if path.is_dir():
        if not (path / ENCODER_FILE).is_file():
            raise UserError(f"{path}: has no {ENCODER_FILE}; run its pretrain command again to finish it")
        return intact(path / ENCODER_FILE)
    if not path.is_file():
        raise UserError(f"--init {init}: no such file or folder; give random, imagenet, a safetensors file or a run")
    return intact(path)


def build(card: Card, seed: int) -> nn.Module:
    """The card's backbone with one input channel and seeded random weights, in channels-last memory order."""
    if not timm.is_model(card.encoder):
        nearest = timm.list_models(f"*{card.encoder}*")[:3] or timm.list_models("resnet*")[:3]
        raise UserError(f"--encoder {card.encoder}: timm knows no such model; did you mean {' or '.join(nearest)}?")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "encoder"))
        try:
            model = timm.create_model(card.encoder, in_chans=1, num_classes=0, **card.encoder_args)
        except TypeError as error:
            raise UserError(f"--encoder_args: {card.encoder} does not take them ({error})") from error
    if card.small_stem:
        if not isinstance(getattr(model, "maxpool", None), nn.Module):
            raise UserError(f"--small_stem: {card.encoder} has no max-pool in its stem; leave the option out")
        model.maxpool = nn.Identity()
    return model.to(memory_format=torch.channels_last)


def save_encoder(path: Path, encoder: nn.Module, card: Card) -> None:
    """Write weights and card as one safetensors file, whole or not at all."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    with writing(path) as temporary:
        save_file(weights, temporary, metadata={"sonolearn": json.dumps(plain(card))})


def read_card(path: Path) -> Card | None:
    """The card of a saved encoder, or None for another program's safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("sonolearn")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: is not a safetensors file ({error}); give one, or a run folder") from error
    if text is None:
        return None
    found, known = json.loads(text), {f.name for f in dataclasses.fields(Card)}
    if "planes" in found:
        raise UserError(f"{path}: is a plane classifier, no encoder; give the pre-training or file that it began with")
    return Card(**{k: v for k, v in found.items() if k in known})


def check_backbone(path: Path, card: Card, config: EncoderConfig) -> None:
    """Refuse a saved encoder of another backbone than the options name."""
    if config.encoder not in (None, card.encoder):
        raise UserError(f"{path}: holds a {card.encoder}, no {config.encoder}; leave --encoder out")


def load_file(path: Path, config: EncoderConfig, seed: int = 0) -> tuple[nn.Module, Card]:
    """An encoder from one of our files, or from a timm checkpoint of one or three input channels."""
    card = read_card(path)
    if card is None:
        if config.encoder is None:
            raise UserError(f"{path}: does not say which backbone it is; name it with --encoder")
        fresh = Card(config.encoder, config.encoder_args, config.small_stem)
        model = build(fresh, seed)
        card = _with_normalisation(dataclasses.replace(fresh, method="file"), model)
    else:
        check_backbone(path, card, config)
        model = build(card, seed)
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    _load_weights(model, weights, path, card.encoder)
    return model, card


def _from_imagenet(config: EncoderConfig, seed: int) -> tuple[nn.Module, Card]:
    """ImageNet weights of timm, their first convolution summed over the colour channels."""
    card = Card(config.encoder or DEFAULT_ENCODER, config.encoder_args, config.small_stem, method="imagenet")
    model = build(card, seed)
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.CRITICAL)
    try:
        weights = timm.create_model(card.encoder, pretrained=True, in_chans=1, num_classes=0, **card.encoder_args)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"--init imagenet: the ImageNet weights of {card.encoder} cannot be downloaded here or do not exist; "
            f"give their safetensors file instead: --init FILE --encoder {card.encoder}"
        ) from error
    finally:
        hub.setLevel(level)
    model.load_state_dict(weights.state_dict())
    return model, _with_normalisation(card, model)


def _with_normalisation(card: Card, model: nn.Module) -> Card:
    """The card with mean and deviation of timm's colour normalisation, averaged over the channels.

    Where the three agree (0.5 of the TensorFlow models) a grey image gives exactly the features of its RGB copy. With
    the usual ImageNet values they point the same way to within a cosine of 0.99.
    """
    colour: Mapping[str, tuple[float, ...]] = model.pretrained_cfg  # type: ignore[assignment]
    mean, std = (sum(colour[name]) / len(colour[name]) for name in ("mean", "std"))
    return dataclasses.replace(card, mean=mean, std=std)


def _load_weights(model: nn.Module, weights: dict[str, Tensor], path: Path, name: str) -> None:
    """Load `weights` strictly, leaving out a classifier and summing a colour input convolution."""
    cfg: Mapping[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    heads, stem = cfg.get("classifier") or (), cfg.get("first_conv")
    heads = (heads,) if isinstance(heads, str) else heads
    weights = {k: v for k, v in weights.items() if k.rsplit(".", 1)[0] not in heads}
    weights = {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}
    stem_key = f"{stem}.weight"
    if stem_key in weights and weights[stem_key].ndim == 4 and weights[stem_key].shape[1] == 3:
        weights[stem_key] = adapt_input_conv(1, weights[stem_key])
    wanted = {k: v.shape for k, v in model.state_dict().items()}
    wrong = [k for k in wanted if k not in weights or weights[k].shape != wanted[k]]
    wrong += [k for k in weights if k not in wanted]
    if wrong:
        raise UserError(
            f"{path}: does not fit a {name} with these options ({len(wrong)} of {len(wanted)} tensors differ, such as "
            f"{wrong[0]}); name its own backbone with --encoder"
        )
    model.load_state_dict(weights)
