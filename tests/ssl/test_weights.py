"""Weights as people have them: every layout gives the features of the network that it came from, or is refused.

The networks are torchvision's and one written out here, so that nothing is compared with timm alone.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models import VisionTransformer
from torchvision.models.resnet import BasicBlock, ResNet

from sonolearn.config import EncoderConfig
from sonolearn.console import UserError
from sonolearn.ssl.encoders import Card, build, check_init, load_encoder, load_file, normalise, save_encoder

Tensors = dict[str, Tensor]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "weights.md"
# resnet18 with one block a stage: fast, and with every kind of tensor that it has.
SHORT: dict[str, Any] = {"layers": [1, 1, 1, 1]}
RESNET = EncoderConfig(encoder="resnet18", encoder_args=SHORT)
SMALL_VIT: dict[str, Any] = {"embed_dim": 64, "depth": 2, "num_heads": 4}


def images(size: int = 64) -> Tensor:
    return torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))


def drawn(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> Tensors:
    """Random tensors of given names and shapes."""
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def with_prefix(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    """torchvision's ResNet with a classifier and batch norms that have seen something."""
    torch.manual_seed(0)
    network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5)
    network(torch.rand(4, 3, 64, 64))
    return network.eval()


@pytest.fixture(scope="module")
def bare(resnet: nn.Module) -> Tensors:
    """Its tensors without the classifier's."""
    return {name: tensor for name, tensor in resnet.state_dict().items() if not name.startswith("fc")}


def features_of(resnet: nn.Module, grey: Tensor) -> Tensor:
    children = list(resnet.children())[:-1]
    with torch.no_grad():
        return nn.Sequential(*children)(grey.repeat(1, 3, 1, 1)).flatten(1)


def in_sequence(tensors: Tensors) -> Tensors:
    """Names of the same network as an nn.Sequential of its children."""
    order = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    return {f"{order.index(name.split('.')[0])}.{name.split('.', 1)[1]}": tensor for name, tensor in tensors.items()}


PROJECTOR = drawn({"projector.0.weight": (8, 512), "projector.1.weight": (8,), "projector.1.bias": (8,)})


def shuffled(tensors: Tensors) -> Tensors:
    """Other weights of the same shapes."""
    return {name: 1 + tensor if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


# How methods and frameworks write a network's tensors `w`, and what has to be said of them.
LAYOUTS: dict[str, tuple[Callable[[Tensors], object], str]] = {
    "VICReg": (lambda w: w, "left out: none"),
    "Barlow Twins, whole": (
        lambda w: {
            "epoch": 3, "optimizer": {"state": {0: {"mu": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
            "model": with_prefix("module.", {**with_prefix("backbone.", w), **PROJECTOR}),
        },
        "(entry `model`, prefix `module.backbone.`); left out: 3 of projector",
    ),
    "MoCo v2": (
        lambda w: {
            "arch": "resnet18", "best_acc1": torch.tensor(0.0),
            "state_dict": with_prefix("module.", {
                **with_prefix("encoder_q.", w), **with_prefix("encoder_q.fc.", drawn({"0.weight": (8, 512)})),
                **with_prefix("encoder_k.", shuffled(w)), "queue": torch.ones(8, 16),
            }),
        },
        "(entry `state_dict`, prefix `module.encoder_q.`); left out: 1 of fc, 60 of encoder_k, 1 of queue",
    ),
    "MoCo v3": (
        lambda w: {"state_dict": with_prefix("module.", {
            **with_prefix("base_encoder.", w), **with_prefix("momentum_encoder.", shuffled(w)),
        })},
        "prefix `module.base_encoder.`",
    ),
    "DINO": (
        lambda w: {
            "student": with_prefix("module.backbone.", shuffled(w)),
            "teacher": {**with_prefix("backbone.", w), **drawn({"head.mlp.0.weight": (8, 512)})},
            "args": argparse.Namespace(lr=0.1, out=Path("runs")), "best": np.float64(0.5), "epoch": 3,
        },
        "(entry `teacher`, prefix `backbone.`); left out: 1 of head",
    ),
    "timm, averaged": (lambda w: {"state_dict": shuffled(w), "state_dict_ema": w}, "entry `state_dict_ema`"),
    "lightly": (
        lambda w: {"state_dict": {**with_prefix("backbone.", w), **drawn({"projection_head.0.weight": (8, 512)})}},
        "prefix `backbone.`); left out: 1 of projection_head",
    ),
    "lightly, nn.Sequential": (lambda w: with_prefix("backbone.", in_sequence(w)), "prefix `backbone.`"),
    "solo-learn": (
        lambda w: {"state_dict": {
            **with_prefix("backbone.", w), **with_prefix("momentum_backbone.", shuffled(w)), **PROJECTOR,
        }},
        "left out: 60 of momentum_backbone, 3 of projector",
    ),
    "Lightning": (
        lambda w: {"pytorch-lightning_version": "2.5", "hyper_parameters": {"lr": 0.1},
                   "callbacks": {"best": torch.tensor(0.0)}, "state_dict": OrderedDict(with_prefix("model.net.", w))},
        "(entry `state_dict`, prefix `model.net.`)",
    ),
    "DDP and torch.compile": (lambda w: with_prefix("module._orig_mod.", w), "prefix `module._orig_mod.`"),
    "encoder": (
        lambda w: {"model_state_dict": with_prefix("encoder.", w)}, "(entry `model_state_dict`, prefix `encoder.`)",
    ),
    "without counters": (lambda w: {k: v for k, v in w.items() if "num_batches" not in k}, "left out: none"),
    "one channel": (lambda w: {**w, "conv1.weight": w["conv1.weight"].sum(1, keepdim=True)}, "left out: none"),
}  # fmt: skip


# Those without entries can be safetensors, too.
FLAT = ("VICReg", "lightly, nn.Sequential", "DDP and torch.compile", "without counters", "one channel")


@pytest.mark.parametrize(
    ("layout", "ending"), [*((name, ".pth") for name in LAYOUTS), *((name, ".safetensors") for name in FLAT)]
)
def test_a_resnet_of_any_layout_gives_torchvisions_features(layout, ending, resnet, bare, tmp_path, capsys) -> None:
    make, expected = LAYOUTS[layout]
    file = tmp_path / f"w{ending}"
    (torch.save if ending == ".pth" else save_file)(make(bare), file)
    encoder, card = load_file(file, RESNET)
    with torch.no_grad():
        torch.testing.assert_close(encoder.eval()(images()), features_of(resnet, images()), rtol=1e-4, atol=1e-5)
    assert card.method == "file"
    said = capsys.readouterr().err
    assert said.startswith(f"{file}: 60 of 60 tensors of resnet18")
    assert expected in said


def test_torchvisions_own_file_loses_its_classifier_only(resnet, tmp_path, capsys) -> None:
    torch.save(resnet.state_dict(), tmp_path / "resnet.pth.tar")
    for _ in range(2):
        load_file(tmp_path / "resnet.pth.tar", RESNET)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"{tmp_path / 'resnet.pth.tar'}: 60 of 60 tensors of resnet18; left out: 2 of fc"]


def test_half_precision_is_summed_in_single_precision(bare, tmp_path) -> None:
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in bare.items()}, tmp_path / "w.pt")
    encoder, _ = load_file(tmp_path / "w.pt", RESNET)
    expected = bare["conv1.weight"].half().double().sum(1, keepdim=True)
    torch.testing.assert_close(encoder.state_dict()["conv1.weight"].double(), expected, rtol=0, atol=1e-6)


def test_a_projector_in_the_place_of_a_classifier_is_left_out(tmp_path: Path, capsys) -> None:
    """ConvNeXt keeps its last norm beside the classifier, under the same `head.`."""
    arguments = {"depths": [1, 1, 1, 1], "dims": [8, 16, 16, 32]}
    weights = timm.create_model("convnext_atto", **arguments, num_classes=0).state_dict()
    torch.save({**weights, **drawn({"head.fc.0.weight": (8, 32), "head.fc.2.weight": (8, 8)})}, tmp_path / "w.pth")
    encoder, _ = load_file(tmp_path / "w.pth", EncoderConfig(encoder="convnext_atto", encoder_args=arguments))
    torch.testing.assert_close(encoder.state_dict()["head.norm.weight"], weights["head.norm.weight"])
    assert "left out: 2 of head" in capsys.readouterr().err


# Transformers


@pytest.fixture(scope="module")
def vit() -> VisionTransformer:
    torch.manual_seed(0)
    network = VisionTransformer(64, 16, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=256, num_classes=5)
    nn.init.normal_(network.conv_proj.weight)
    return network.eval()


def test_torchvisions_vit_gives_its_features(vit: VisionTransformer, tmp_path: Path) -> None:
    torch.save({"model": vit.state_dict()}, tmp_path / "vit.pth")
    config = EncoderConfig(encoder="vit_tiny_patch16_224", encoder_args=SMALL_VIT)
    encoder, _ = load_file(tmp_path / "vit.pth", config, image_size=64)
    vit.heads = nn.Identity()
    with torch.no_grad():
        expected = vit(images().repeat(1, 3, 1, 1))
        torch.testing.assert_close(encoder.eval()(images()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", ["timm", "torchvision"])
def test_position_embeddings_are_resized_to_the_image_size(layout: str, vit: VisionTransformer, tmp_path: Path) -> None:
    encoder, other = "vit_tiny_patch16_224", tmp_path / "other.pth"
    small = build(Card(encoder, SMALL_VIT, image_size=64), seed=0)
    torch.save(small.state_dict() if layout == "timm" else vit.state_dict(), other)
    before = small.state_dict()["pos_embed"] if layout == "timm" else vit.state_dict()["encoder.pos_embedding"]
    large, card = load_file(other, EncoderConfig(encoder=encoder, encoder_args=SMALL_VIT), image_size=96)
    after = large.state_dict()["pos_embed"]
    grid = before[:, 1:].reshape(1, 4, 4, 64).permute(0, 3, 1, 2)
    expected = interpolate(grid, (6, 6), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    torch.testing.assert_close(after[:, 1:], expected)
    torch.testing.assert_close(after[:, :1], before[:, :1])
    assert card.image_size == 96
    assert large.eval()(images(96)).shape == (2, 64)


@pytest.mark.parametrize(
    ("encoder", "arguments"),
    [
        ("vit_tiny_patch16_224", SMALL_VIT),
        ("vit_small_patch14_reg4_dinov2", SMALL_VIT),
        ("vit_small_patch16_dinov3", SMALL_VIT),
        ("beit_base_patch16_224", {**SMALL_VIT, "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}),
        ("swin_tiny_patch4_window7_224", {"embed_dim": 24, "depths": [1, 1], "num_heads": [2, 4]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_our_own_transformers_go_on_at_another_image_size(encoder, arguments, tmp_path: Path) -> None:
    card = Card(encoder, arguments, image_size=112, method="simclr")
    saved = build(card, seed=1)
    save_encoder(tmp_path / "encoder.safetensors", saved, card)
    same, _ = load_encoder(EncoderConfig(init=str(tmp_path)), seed=0)
    with torch.no_grad():
        torch.testing.assert_close(same.eval()(images(112)), saved.eval()(images(112)))
    other, found = load_encoder(EncoderConfig(init=str(tmp_path)), seed=0, image_size=224)
    assert (found.image_size, found.method) == (224, "simclr")
    assert other.eval()(images(224)).isfinite().all()


# Networks for ultrasound, in the names that their authors published


def block_names(count: int, width: int) -> dict[str, tuple[int, ...]]:
    """Tensors of a plain ViT's blocks in the names of MAE and DINO."""
    each = {
        "norm1.weight": (width,), "norm1.bias": (width,), "norm2.weight": (width,), "norm2.bias": (width,),
        "attn.qkv.weight": (3 * width, width), "attn.qkv.bias": (3 * width,), "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,), "mlp.fc1.weight": (4 * width, width), "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width), "mlp.fc2.bias": (width,),
    }  # fmt: skip
    return {f"blocks.{number}.{name}": shape for number in range(count) for name, shape in each.items()}


def trunk(tokens: int, patch: int, channels: int = 3) -> dict[str, tuple[int, ...]]:
    return {
        "cls_token": (1, 1, 64), "pos_embed": (1, tokens, 64), "patch_embed.proj.weight": (64, channels, patch, patch),
        "patch_embed.proj.bias": (64,), **block_names(2, 64), "norm.weight": (64,), "norm.bias": (64,),
    }  # fmt: skip


def fetalclip() -> object:
    each = {
        "ln_1.weight": (64,), "ln_1.bias": (64,), "ln_2.weight": (64,), "ln_2.bias": (64,),
        "attn.in_proj_weight": (192, 64), "attn.in_proj_bias": (192,), "attn.out_proj.weight": (64, 64),
        "attn.out_proj.bias": (64,), "mlp.c_fc.weight": (256, 64), "mlp.c_fc.bias": (256,),
        "mlp.c_proj.weight": (64, 256), "mlp.c_proj.bias": (64,),
    }  # fmt: skip
    towers = {
        f"{tower}transformer.resblocks.{n}.{k}": v for tower in ("visual.", "") for n in (0, 1) for k, v in each.items()
    }
    return drawn({
        **towers, "visual.class_embedding": (64,), "visual.positional_embedding": (257, 64), "visual.proj": (64, 32),
        "visual.conv1.weight": (64, 3, 14, 14), "visual.ln_pre.weight": (64,), "visual.ln_pre.bias": (64,),
        "visual.ln_post.weight": (64,), "visual.ln_post.bias": (64,), "positional_embedding": (117, 64),
        "text_projection": (64, 32), "logit_scale": (), "token_embedding.weight": (100, 64), "ln_final.weight": (64,),
        "ln_final.bias": (64,),
    })  # fmt: skip


def usf_mae() -> object:
    decoder = {"decoder_" + name: shape for name, shape in block_names(1, 64).items()}
    return drawn({**trunk(197, 16), "mask_token": (1, 1, 64), "decoder_pos_embed": (1, 197, 64), **decoder})


def usfm() -> object:
    names = {name: shape for name, shape in trunk(197, 16).items() if not name.endswith(("qkv.bias", "pos_embed"))}
    for number in (0, 1):
        names |= {f"blocks.{number}.{name}": (64,) for name in ("attn.q_bias", "attn.v_bias", "gamma_1", "gamma_2")}
    table = {"rel_pos_bias.relative_position_bias_table": (27 * 27 + 3, 4), "mask_token": (1, 1, 64)}
    return {
        **drawn({**names, **table}),
        "rel_pos_bias.relative_position_index": torch.zeros(197, 197, dtype=torch.long),
    }


def ultradino() -> object:
    names = {**trunk(197, 16, channels=1), "mask_token": (1, 64), "register_tokens": (1, 4, 64)}
    names |= {f"blocks.{number}.ls{part}.gamma": (64,) for number in (0, 1) for part in (1, 2)}
    return {"teacher": {**with_prefix("backbone.", drawn(names)), **drawn({"dino_head.mlp.0.weight": (8, 64)})}}


def dinov3_vit() -> object:
    names = {**trunk(197, 16), "mask_token": (1, 64), "storage_tokens": (1, 4, 64), "rope_embed.periods": (4,)}
    del names["pos_embed"]
    names |= {f"blocks.{number}.ls{part}.gamma": (64,) for number in (0, 1) for part in (1, 2)}
    return drawn({**names, **{f"blocks.{number}.attn.qkv.bias_mask": (192,) for number in (0, 1)}})


def dinov3_convnext() -> object:
    widths = (8, 16, 32, 64)
    names: dict[str, tuple[int, ...]] = {
        "downsample_layers.0.0.weight": (8, 3, 4, 4), "downsample_layers.0.0.bias": (8,),
        "downsample_layers.0.1.weight": (8,), "downsample_layers.0.1.bias": (8,),
        **{f"{norm}.{name}": (64,) for norm in ("norm", "norms.3") for name in ("weight", "bias")},
    }  # fmt: skip
    for stage, width in enumerate(widths):
        if stage:
            before, place = widths[stage - 1], f"downsample_layers.{stage}"
            names |= {f"{place}.0.weight": (before,), f"{place}.0.bias": (before,)}
            names |= {f"{place}.1.weight": (width, before, 2, 2), f"{place}.1.bias": (width,)}
        names |= {f"stages.{stage}.0.{name}": shape for name, shape in {
            "gamma": (width,), "dwconv.weight": (width, 1, 7, 7), "dwconv.bias": (width,), "norm.weight": (width,),
            "norm.bias": (width,), "pwconv1.weight": (4 * width, width), "pwconv1.bias": (4 * width,),
            "pwconv2.weight": (width, 4 * width), "pwconv2.bias": (width,),
        }.items()}  # fmt: skip
    return drawn(names)


SMALL_CONVNEXT: dict[str, Any] = {"depths": [1, 1, 1, 1], "dims": [8, 16, 32, 64]}
# The file's name in the how-to, its tensors, the small size of their network, and a tensor that has to arrive.
PUBLISHED: dict[str, tuple[Callable[[], object], dict[str, Any], tuple[str, str]]] = {
    "FetalCLIP_weights.pt": (
        fetalclip, SMALL_VIT, ("visual.transformer.resblocks.1.mlp.c_fc.weight", "blocks.1.mlp.fc1.weight"),
    ),
    "USF-MAE_full_pretrain_43dataset_100epochs.pt": (usf_mae, SMALL_VIT, ("norm.weight", "norm.weight")),
    "USFM_latest.pth": (usfm, SMALL_VIT, ("rel_pos_bias.relative_position_bias_table",) * 2),
    "teacher_checkpoint.pth": (ultradino, SMALL_VIT, ("register_tokens", "reg_token")),
    "dinov3_vits16_pretrain_lvd1689m-08c60483.pth": (dinov3_vit, SMALL_VIT, ("storage_tokens", "reg_token")),
    "dinov3_convnext_tiny_pretrain_lvd1689m-21b726bb.pth": (
        dinov3_convnext, SMALL_CONVNEXT, ("norm.weight", "head.norm.weight"),
    ),
}  # fmt: skip


def options_shown_for(name: str) -> EncoderConfig:
    """The encoder and its arguments in the how-to's command for a file."""
    text = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = {found for found in re.findall(r"^\$ (.*)$", text, re.MULTILINE) if f"/{name} " in found}
    words = shlex.split(line)
    arguments = yaml.safe_load(words[words.index("--encoder_args") + 1]) if "--encoder_args" in words else {}
    return EncoderConfig(encoder=words[words.index("--encoder") + 1], encoder_args=arguments)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("image_size", [224, 112])
def test_published_layouts_load_with_the_options_of_the_how_to(name: str, image_size: int, tmp_path: Path) -> None:
    make, small, (theirs, ours) = PUBLISHED[name]
    checkpoint = make()
    torch.save(checkpoint, tmp_path / name)
    shown = options_shown_for(name)
    config = EncoderConfig(encoder=shown.encoder, encoder_args={**shown.encoder_args, **small})
    encoder, card = load_file(tmp_path / name, config, image_size=image_size)
    tensors = checkpoint.get("teacher", checkpoint) if isinstance(checkpoint, dict) else {}
    (given,) = (tensor for key, tensor in tensors.items() if key.removeprefix("backbone.") == theirs)
    if given.shape == encoder.state_dict()[ours].shape:
        torch.testing.assert_close(encoder.state_dict()[ours], given)
    else:
        assert image_size != 224
    with torch.no_grad():
        assert (
            encoder.eval()(normalise(torch.zeros(2, image_size, image_size, dtype=torch.uint8), card.mean, card.std))
            .isfinite()
            .all()
        )


def test_the_normalisation_of_published_networks_is_that_of_their_code() -> None:
    def averaged(mean: tuple[float, ...], std: tuple[float, ...]) -> list[float]:
        return [sum(mean) / len(mean), sum(std) / len(std)]

    imagenet = averaged((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    clip = averaged((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    expected = dict.fromkeys(PUBLISHED, imagenet)
    expected |= {"FetalCLIP_weights.pt": clip, "teacher_checkpoint.pth": [0.1842924807, 0.2187705424]}
    for name, values in expected.items():
        shown = options_shown_for(name)
        with torch.device("meta"):
            model = timm.create_model(shown.encoder, in_chans=1, num_classes=0, **shown.encoder_args)
        assert averaged(model.pretrained_cfg["mean"], model.pretrained_cfg["std"]) == pytest.approx(values), name


def test_blocks_in_chunks_are_counted_through(tmp_path: Path) -> None:
    names = {**trunk(197, 16), "mask_token": (1, 64)}
    names |= {f"blocks.{number}.ls{part}.gamma": (64,) for number in (0, 1) for part in (1, 2)}
    whole = drawn(names)
    torch.save(
        {re.sub(r"^blocks\.(\d)", r"blocks.\1.\1", name): tensor for name, tensor in whole.items()}, tmp_path / "w.pth"
    )
    arguments = {**SMALL_VIT, "patch_size": 16, "img_size": 224}
    encoder, _ = load_file(
        tmp_path / "w.pth", EncoderConfig(encoder="vit_small_patch14_dinov2", encoder_args=arguments)
    )
    torch.testing.assert_close(encoder.state_dict()["blocks.1.ls2.gamma"], whole["blocks.1.ls2.gamma"])


# What is refused


class Evil:
    """Pickled, it makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_with_code_is_refused_and_not_executed(zipped: bool, bare: Tensors, tmp_path: Path) -> None:
    file = tmp_path / "w.ckpt"
    torch.save({"state_dict": bare, "more": Evil(tmp_path / "made")}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError) as refused:
        load_file(file, RESNET)
    assert not (tmp_path / "made").exists()
    named = r" \(posix\.mkdir\)" if zipped else ""
    assert re.fullmatch(
        rf"{re.escape(str(file))}: holds more than tensors{named}, and code in a pickle is never executed; where you "
        "trust the file, save its tensors as safetensors and give those",
        str(refused.value),
    )


def test_the_way_to_safetensors_in_the_how_to_works(bare: Tensors, tmp_path: Path, monkeypatch, resnet) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": bare, "options": Path, "layer": nn.Linear(2, 2)}, "checkpoint.ckpt")
    with pytest.raises(UserError, match="save its tensors as safetensors"):
        load_file(Path("checkpoint.ckpt"), RESNET)
    (snippet,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    exec(snippet, {})
    encoder, _ = load_file(Path("checkpoint.safetensors"), RESNET)
    torch.testing.assert_close(encoder.eval()(images()), features_of(resnet, images()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 cut off"], ids=["empty", "text", "cut"])
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(
        UserError, match=r"w\.pth: (is damaged|holds more than tensors).*save its tensors as safetensors"
    ):
        load_file(tmp_path / "w.pth", RESNET)


def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"does not fit a resnet18 .* name its own backbone with --encoder"):
        load_file(tmp_path / "w.pth", RESNET)


def test_half_of_the_weights_are_refused_with_counts(bare: Tensors, tmp_path: Path) -> None:
    half = {name: tensor for name, tensor in bare.items() if not name.startswith(("layer3", "layer4"))}
    torch.save({"state_dict": with_prefix("module.", half)}, tmp_path / "w.pth")
    with pytest.raises(UserError) as refused:
        load_file(tmp_path / "w.pth", RESNET)
    assert str(refused.value) == (
        f"{tmp_path / 'w.pth'}: holds 30 of the 60 tensors of a resnet18, layer3.0.conv1.weight is missing; get the "
        "whole file again, or name its own backbone with --encoder"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(value: float, bare: Tensors, tmp_path: Path) -> None:
    broken = {name: tensor.clone() for name, tensor in bare.items()}
    broken["layer2.0.conv1.weight"][0, 0, 0, 0] = value
    save_file(broken, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"1 of its tensors, such as layer2\.0\.conv1\.weight, hold NaN or infinite"):
        load_file(tmp_path / "w.safetensors", RESNET)


@pytest.mark.parametrize(
    ("held", "asked"), [("resnet34", "resnet18"), ("resnet18", "resnet34"), ("resnet50", "resnet18")]
)
def test_the_backbone_that_a_file_holds_is_named(held: str, asked: str, tmp_path: Path) -> None:
    """A deeper network has all tensors of a shallower one, and is refused all the same."""
    weights = timm.create_model(held, num_classes=3).state_dict()
    torch.save(with_prefix("backbone.", weights), tmp_path / "w.pth")
    with pytest.raises(UserError, match=rf"does not fit a {asked} .*; it fits a {held}: give --encoder {held}$"):
        load_file(tmp_path / "w.pth", EncoderConfig(encoder=asked))
    found, card = load_file(tmp_path / "w.pth", EncoderConfig())
    assert card.encoder == held
    torch.testing.assert_close(found.state_dict()["bn1.weight"], weights["bn1.weight"])


def test_options_that_do_not_fit_are_named(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"; it fits a plain resnet18: leave out --encoder_args and --small_stem$"):
        load_file(tmp_path / "w.pth", RESNET)


def test_a_transformer_with_more_tokens_is_refused(tmp_path: Path) -> None:
    """Without its register tokens it would compute something else."""
    torch.save(ultradino(), tmp_path / "w.pth")
    config = EncoderConfig(encoder="vit_small_patch14_dinov2", encoder_args={**SMALL_VIT, "patch_size": 16})
    with pytest.raises(UserError, match=r"does not fit a vit_small_patch14_dinov2 .*such as register_tokens"):
        load_file(tmp_path / "w.pth", config, image_size=224)


def test_the_norm_behind_averaged_tokens_names_its_option(tmp_path: Path) -> None:
    torch.save(usfm(), tmp_path / "w.pth")
    arguments = {**SMALL_VIT, "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}
    with pytest.raises(UserError, match=r"lacks the fc_norm .* add --encoder_args '\{global_pool: token\}'"):
        load_file(tmp_path / "w.pth", EncoderConfig(encoder="beit_base_patch16_224", encoder_args=arguments))


def test_weights_are_checked_before_data_are_read(bare: Tensors, tmp_path: Path) -> None:
    save_file({"conv1.weight": bare["conv1.weight"]}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="holds 1 of the 60 tensors"):
        check_init(EncoderConfig(encoder="resnet18", encoder_args=SHORT, init=str(tmp_path / "w.safetensors")))
