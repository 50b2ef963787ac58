"""Encoders: any timm backbone with one grey input channel, from random weights, ImageNet, a file or a run.

A saved encoder is a safetensors file with a small card (JSON in the file's metadata) that says how to use it: the
backbone, the image size and the normalisation. Files without a card are other programs' (`sonolearn.ssl.weights`).
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import timm
import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sonolearn.checksums import intact
from sonolearn.config import EncoderConfig
from sonolearn.console import UserError, say
from sonolearn.runs import plain, seed_for, writing
from sonolearn.ssl.card import Card as Card
from sonolearn.ssl.weights import PICKLES, load_weights, recognise

ENCODER_FILE = "encoder.safetensors"
DEFAULT_ENCODER = "resnet50"
DEFAULT_IMAGE_SIZE = 224
WEIGHTS_VARIABLE = "SONOLEARN_WEIGHTS"


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


def load_encoder(config: EncoderConfig, seed: int, image_size: int | None = None) -> tuple[nn.Module, Card]:
    """Make the encoder that the options name.

    >>> encoder, card = load_encoder(EncoderConfig(encoder="resnet18"), seed=0)
    >>> encoder(normalise(torch.zeros(2, 64, 64, dtype=torch.uint8), card.mean, card.std)).shape
    torch.Size([2, 512])

    Args:
        config: which backbone, and what it starts from.
        seed: of the random weights.
        image_size: side in px of the images to come. A transformer with learnt positions is built for it, and the
            position embeddings of weights are resized to it; other networks take any. None: as the backbone or its
            card has it.

    Returns:
        A timm model without classifier, (N, 1, H, W) float32 to (N, F) features, and its card; F is
        `feature_count(encoder)`.

    Raises:
        UserError: unknown backbone, no weights to be had, or weights of another architecture.
    """
    match config.init:
        case "random":
            card = Card(config.encoder or DEFAULT_ENCODER, config.encoder_args, config.small_stem, image_size)
            return build(card, seed), card
        case "imagenet":
            return _from_imagenet(config, seed, image_size)
        case _:
            return load_file(encoder_file(config.init), config, seed, image_size)


def check_init(config: EncoderConfig, image_size: int | None = None) -> None:
    """Refuse weights that cannot be had, before any data are read; arguments and errors as of `load_encoder`."""
    if config.init != "random":
        load_encoder(config, 0, image_size)


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
        raise UserError(f"--init {init}: no such file or folder; give random, imagenet, a file of weights or a run")
    return intact(path)


def build(card: Card, seed: int) -> nn.Module:
    """The card's backbone with one input channel and seeded random weights, in channels-last memory order."""
    if not timm.is_model(card.encoder):
        nearest = timm.list_models(f"*{card.encoder}*")[:3] or timm.list_models("resnet*")[:3]
        raise UserError(f"--encoder {card.encoder}: timm knows no such model; did you mean {' or '.join(nearest)}?")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "encoder"))
        model = _create(card)
    if card.small_stem:
        if not isinstance(getattr(model, "maxpool", None), nn.Module):
            raise UserError(f"--small_stem: {card.encoder} has no max-pool in its stem; leave the option out")
        model.maxpool = nn.Identity()
    return model.to(memory_format=torch.channels_last)


def _create(card: Card, pretrained: bool = False) -> nn.Module:
    """The card's timm model; where its kind has a fixed image size, with the card's."""
    settings = timm.get_pretrained_cfg(card.encoder)
    size = card.image_size if settings and settings.fixed_input_size else None
    arguments = {**card.encoder_args, "img_size": size} if size else card.encoder_args
    try:
        model: nn.Module = timm.create_model(
            card.encoder, pretrained=pretrained, in_chans=1, num_classes=0, **arguments
        )
    except TypeError as error:
        raise UserError(f"--encoder_args: {card.encoder} does not take them ({error})") from error
    except (AssertionError, ValueError) as error:
        raise UserError(f"--encoder {card.encoder}: cannot be built for images of {size} px ({error})") from error
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", 1)
    patch = patch[0] if isinstance(patch, tuple) else patch
    if size and size % patch:
        raise UserError(
            f"--image_size {size}: {card.encoder} cuts images into patches of {patch} px; give a multiple of that, "
            f"such as {patch * math.ceil(size / patch)}"
        )
    return model


def save_encoder(path: Path, encoder: nn.Module, card: Card) -> None:
    """Write weights and card as one safetensors file, whole or not at all."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    with writing(path) as temporary:
        save_file(weights, temporary, metadata={"sonolearn": json.dumps(plain(card))})


def read_card(path: Path) -> Card | None:
    """The card of a saved encoder, or None for another program's file of weights."""
    if path.suffix in PICKLES:
        return None
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


def card_of(path: Path, config: EncoderConfig) -> Card:
    """The card of a file of weights: its own, or a new one without image size and normalisation.

    Raises:
        UserError: it holds another backbone than the options name, or neither says which.
    """
    own = read_card(path)
    if own is not None:
        check_backbone(path, own, config)
        return own
    encoder = config.encoder or recognise(path)
    if encoder is None:
        raise UserError(f"{path}: does not say which backbone it is; name it with --encoder")
    return Card(encoder, config.encoder_args, config.small_stem, method="file")


def load_file(
    path: Path, config: EncoderConfig, seed: int = 0, image_size: int | None = None
) -> tuple[nn.Module, Card]:
    """An encoder from one of our files, or from another program's weights of one or three input channels.

    What was matched of another program's file is said in the terminal, once. Arguments and errors as of `load_encoder`.
    """
    card = card_of(path, config)
    card = dataclasses.replace(card, image_size=image_size or card.image_size)
    model = build(card, seed)
    matched = load_weights(model, path, card.encoder)
    if read_card(path) is None:
        _say_once(matched)
        card = _with_normalisation(card, model)
    return model, card


def imagenet_file(encoder: str) -> Path | None:
    """The file in the folder $SONOLEARN_WEIGHTS that stands for timm's ImageNet weights: NAME[.more].safetensors.

    Raises:
        UserError: several files could be meant.
    """
    folder = os.environ.get(WEIGHTS_VARIABLE)
    found = sorted(Path(folder).glob("*.safetensors")) if folder else []
    found = [path for path in found if f"{path.name}.".startswith(f"{encoder}.")]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise UserError(f"{folder}: {names} are both weights of {encoder}; give one of them: --init FILE")
    return found[0] if found else None


def cached_imagenet_file(encoder: str) -> Path | None:
    """The file of timm's ImageNet weights that was downloaded before."""
    from huggingface_hub import try_to_load_from_cache

    pretrained = timm.get_pretrained_cfg(encoder) if timm.is_model(encoder) else None
    name = pretrained.hf_hub_id if pretrained else None
    found = try_to_load_from_cache(str(name), "model.safetensors") if name else None
    return Path(found) if isinstance(found, str) else None


def _from_imagenet(config: EncoderConfig, seed: int, image_size: int | None) -> tuple[nn.Module, Card]:
    """ImageNet weights, their first convolution summed over the colour channels: of our folder, else of timm."""
    encoder = config.encoder or DEFAULT_ENCODER
    card = Card(encoder, config.encoder_args, config.small_stem, image_size, method="imagenet")
    model = build(card, seed)
    file = imagenet_file(encoder)
    if file:
        _say_once(load_weights(model, file, encoder))
    else:
        model.load_state_dict(_timm_weights(card))
    return model, _with_normalisation(card, model)


def _timm_weights(card: Card) -> dict[str, Tensor]:
    """The ImageNet weights that timm finds in its cache or on the network."""
    # Without a network the hub tries for almost a minute.
    _say_once(f"--init imagenet: asking timm for the weights of {card.encoder}")
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.CRITICAL)
    try:
        return _create(card, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"--init imagenet: the ImageNet weights of {card.encoder} cannot be downloaded here or do not exist; "
            f"give their safetensors file instead: --init FILE --encoder {card.encoder}, or a folder of such files as "
            f"{WEIGHTS_VARIABLE}"
        ) from error
    finally:
        hub.setLevel(level)


@cache
@rank_zero_only
def _say_once(line: str) -> None:
    """Weights are loaded for every training of a command, and by every process; one line is enough."""
    say(line)


def _with_normalisation(card: Card, model: nn.Module) -> Card:
    """The card with mean and deviation of timm's colour normalisation, averaged over the channels.

    Where the three agree (0.5 of the TensorFlow models) a grey image gives exactly the features of its RGB copy. With
    the usual ImageNet values they point the same way to within a cosine of 0.99.
    """
    colour: Mapping[str, tuple[float, ...]] = model.pretrained_cfg  # type: ignore[assignment]
    mean, std = (sum(colour[name]) / len(colour[name]) for name in ("mean", "std"))
    return dataclasses.replace(card, mean=mean, std=std)
