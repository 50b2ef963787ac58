"""Settings that make no sense are refused before any data are read, in one sentence that names option and value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest

from sonolearn import cli, config
from sonolearn.config import base as checks
from sonolearn.console import UserError

CONFIGS = [kind for kind in vars(config).values() if dataclasses.is_dataclass(kind)]


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_defaults_are_accepted_and_cannot_be_changed_by_accident(kind: type) -> None:
    made = kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.anything = 1


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("phantom o --patients 0", "--patients 0: give at least 1"),
        ("phantom o --frames 0", "--frames 0: give at least 1"),
        ("phantom o --scans -1", "--scans -1: give 0 or more"),
        ("phantom o --stills -1", "--stills -1: give 0 or more"),
        ("phantom o --workers -1", "--workers -1: give 0 or more"),
        ("phantom o --size 16", "--size 16: give at least 32 px"),
        ("phantom o --labelled 1.5", "--labelled 1.5: give a share from 0 to 1"),
        ("phantom o --doppler -0.1", "--doppler -0.1: give a share from 0 to 1"),
        ("prepare s --out o --size 8", "--size 8: give a side from 16 to 4096 px"),
        ("prepare s --out o --size 5000", "--size 5000: give a side from 16 to 4096 px"),
        ("prepare s --out o --frame_skip 0", "--frame_skip 0: give 1 (every frame) or more"),
        ("prepare s --out o --workers -2", "--workers -2: give 0 or more"),
        ("prepare s --out o --patient_pattern (", "--patient_pattern (: is not a valid regular expression"),
        ("prepare s --out o --split 0.5 0.2 0.2", "give three shares (train, valid, test) that add up to 1"),
        ("prepare s --out o --split 0 0.5 0.5", "the first above 0"),
        ("prepare s --out o --split 1.5 -0.5 0", "give three shares"),
        ("pretrain s --out o --batch_size 1", "--batch_size 1: SSL compares frames, give at least 2"),
        (
            "pretrain s --out o --batch_size 10 --accumulate 3",
            "give a multiple of accumulate x devices x num_nodes (3)",
        ),
        ("pretrain s --out o --batch_size 4 --devices 4", "at least 8"),
        ("pretrain s --out o --devices 0", "--devices 0: give at least 1"),
        ("pretrain s --out o --num_nodes 0", "--num_nodes 0: give at least 1"),
        ("pretrain s --out o --optimizer.lr .nan", "--optimizer.lr nan: give"),
        ("pretrain s --out o --optimizer.lr .inf", "--optimizer.lr inf: give"),
        ("pretrain s --out o --accumulate 0", "--accumulate 0: give at least 1"),
        ("pretrain s --out o --epochs 0", "--epochs 0: give at least 1"),
        ("pretrain s --out o --max_steps 0", "--max_steps 0: give at least 1"),
        ("pretrain s --out o --image_size 8", "--image_size 8: give at least 16 px"),
        ("pretrain s --out o --valid_patients 1", "--valid_patients 1.0: give a share from 0 to below 1"),
        ("pretrain s --out o --valid_every 0", "--valid_every 0: give at least 1"),
        ("pretrain s --out o --log_every 0", "--log_every 0: give at least 1"),
        ("pretrain s --out o --checkpoint_minutes 0", "--checkpoint_minutes 0.0: give more than 0"),
        ("pretrain s --out o --workers -1", "--workers -1: give 0 or more"),
        (
            "pretrain s --out o --views.crop_scale 0.5 1.5",
            "--views.crop_scale 0.5 1.5: give 0 < smallest <= largest <= 1, no crop is larger than its frame",
        ),
        (
            "pretrain s --out o --views.crop_scale 0.9 0.1",
            "--views.crop_scale 0.9 0.1: give 0 < smallest <= largest",
        ),
        ("pretrain s --out o --views.crop_ratio 0 1", "--views.crop_ratio 0.0 1.0: give 0 < smallest <= largest"),
        ("pretrain s --out o --views.blur_sigma 0 1", "--views.blur_sigma 0.0 1.0: give 0 < smallest <= largest"),
        ("pretrain s --out o --views.flip 1.5", "--views.flip 1.5: give probabilities from 0 to 1"),
        ("pretrain s --out o --views.blur 1 2", "--views.blur 1.0 2.0: give probabilities from 0 to 1"),
        ("pretrain s --out o --views.contrast 2", "--views.contrast 2.0: give 0 to 1"),
        ("pretrain s --out o --barlow_twins.projector 8 0", "--barlow_twins.projector 8 0: give at least one width"),
        ("pretrain s --out o --barlow_twins.projector []", "--barlow_twins.projector : give at least one width"),
        ("pretrain s --out o --barlow_twins.redundancy -1", "--barlow_twins.redundancy -1.0: give 0 or more"),
        ("pretrain s --out o --optimizer.lr 0", "--optimizer.lr 0.0: give more than 0"),
        ("pretrain s --out o --optimizer.lr_batch 0", "--optimizer.lr_batch 0: give at least 1, or null"),
        ("pretrain s --out o --optimizer.momentum 1.2", "--optimizer.momentum 1.2: give 0 to below 1"),
        ("pretrain s --out o --optimizer.warmup_epochs -1", "--optimizer.warmup_epochs -1.0: give 0 or more"),
        ("pretrain s --out o --optimizer.final_lr 2", "--optimizer.final_lr 2.0: give a share from 0 to 1"),
        ("pretrain s --out o --optimizer adam", "--optimizer.name adam: give lars, sgd or adamw"),
        ("pretrain s --out o --method simclr --simclr.temperature 0", "--simclr.temperature 0.0: give more than 0"),
        ("pretrain s --out o --method moco --moco.temperature -1", "--moco.temperature -1.0: give more than 0"),
        ("pretrain s --out o --method moco --moco.momentum 1.2", "--moco.momentum 1.2: give a share from 0 to 1"),
        (
            "pretrain s --out o --method moco --batch_size 512 --moco.queue 500",
            "--moco.queue 500: must hold the keys of a batch, give at least 512",
        ),
        ("pretrain s --out o --method byol --byol.momentum 1.2", "--byol.momentum 1.2: give a share from 0 to 1"),
        (
            "pretrain s --out o --method byol --byol.predictor 64 32",
            "--byol.predictor 64 32: predicts what the projector gives; let it end with 256",
        ),
        ("pretrain s --out o --method vicreg --vicreg.variance -1", "--vicreg.variance -1.0: give 0 or more"),
        (
            "pretrain s --out o --method inpainting --inpainting.erase_scale 0.5 1.5",
            "--inpainting.erase_scale 0.5 1.5: give 0 < smallest <= largest < 1",
        ),
        (
            "pretrain s --out o --method autoencoder --autoencoder.decoder_width 0",
            "--autoencoder.decoder_width 0.0: give more than 0",
        ),
        ("pretrain s --out o --positives nearby", "--positives.name nearby: give same_frame or nearby_frames"),
        ("pretrain s --out o --positives.seconds 0", "--positives.seconds 0.0: give more than 0 seconds"),
        (
            "pretrain s --out o --method autoencoder --positives nearby_frames",
            "--positives nearby_frames: autoencoder rebuilds a single view; leave the option out",
        ),
        ("pretrain s --out o --method inpainting --recipe paper", "--recipe paper: inpainting has no paper of its own"),
        ("pretrain s --out o --views sonar", "--views.name sonar: give study, paper, ultrasound or gentle"),
        ("pretrain s --out o --views.rotation 200", "--views.rotation 200.0: give 0 to 180 degrees"),
        ("pretrain s --out o --views.shadow 2", "--views.shadow 2.0: give probabilities from 0 to 1"),
        ("pretrain s --out o --views.speckle_db 3 1", "--views.speckle_db 3.0 1.0: give 0 < smallest <= largest"),
        ("pretrain s --out o --views.gain_db 3 1", "--views.gain_db 3.0 1.0: give smallest <= largest"),
        ("pretrain s --out o --views.randaugment 2 40", "--views.randaugment 2 40: give 0 or more operations and a"),
        ("classify s --out o --fractions 0", "--fractions [0.0]: give shares above 0, at most 1"),
        ("classify s --out o --fractions 0.5 2", "--fractions [0.5, 2.0]: give shares above 0, at most 1"),
        ("classify s --out o --fractions []", "--fractions []: give shares above 0, at most 1"),
        ("classify s --out o --seeds 0", "--seeds 0: give at least 1"),
        ("classify s --out o --epochs 0", "--epochs 0: give at least 1"),
        ("classify s --out o --batch_size 1", "--batch_size 1: give at least 2"),
        ("classify s --out o --image_size 0", "--image_size 0: give at least 16 px"),
        ("classify s --out o --temperature 0", "--temperature 0.0: give more than 0"),
        ("classify s --out o --neighbours 0", "--neighbours 0: give at least 1"),
        ("classify s --out o --lr 0", "--lr 0.0: give more than 0"),
        ("classify s --out o --weight_decay -1", "--weight_decay -1.0: give 0 or more"),
        ("classify s --out o --dropout 1", "--dropout 1.0: give 0 to below 1"),
        ("classify s --out o --views.randaugment 2 31", "--views.randaugment 2 31: give 0 or more operations and a"),
        ("classify s --out o --views.flip 2", "--views.flip 2.0: give probabilities from 0 to 1"),
        ("classify s --out o --valid some", "--valid some: give within or whole"),
        ("classify s --out o --standardise false", "--standardise false: give shared, each or none"),
        ("classify s --out o --head linear", "--head linear: give logistic or random"),
        ("classify s --out o --min_steps -1", "--min_steps -1: give 0 or more"),
        ("classify s --out o --layer_decay 0", "--layer_decay 0.0: give more than 0"),
        ("classify s --out o --layer_decay 1.5", "--layer_decay 1.5: give a share from 0 to 1"),
        ("classify s --out o --warmup 2", "--warmup 2.0: give a share from 0 to 1"),
        ("classify s --out o --average 1.1", "--average 1.1: give a share from 0 to 1"),
        ("classify s --out o --mixture -1", "--mixture -1.0: give a share from 0 to 1"),
        ("classify s --out o --workers -1", "--workers -1: give 0 or more"),
        ("demo --out o --seeds 0", "--seeds 0: give at least 1"),
    ],
)
def test_a_setting_without_sense_is_refused_before_data_are_read(
    line: str, answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[Any] = []

    def record(**arguments: Any) -> None:
        called.append(arguments)

    name = line.split()[0]
    record.__doc__ = cli.COMMANDS[name].function.__doc__
    monkeypatch.setitem(cli.COMMANDS, name, dataclasses.replace(cli.COMMANDS[name], function=record))
    with pytest.raises(SystemExit) as stop:
        cli.main(line.split())
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert answer in printed
    assert printed.count("\n") == 1
    assert called == []


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (config.ViewsConfig, {"flip": float("nan")}),
        (config.ViewsConfig, {"crop_scale": (float("nan"), 1.0)}),
        (config.ClassifyConfig, {"lr": float("nan")}),
        (config.ClassifyConfig, {"fractions": (float("nan"),)}),
        (config.PrepareConfig, {"split": (float("nan"), 0.5, 0.5)}),
    ],
)
def test_no_number_is_no_setting(kind: type, options: dict[str, object]) -> None:
    with pytest.raises(UserError):
        kind(**options)


def test_a_refusal_is_a_value_error_for_notebooks() -> None:
    with pytest.raises(ValueError, match="--batch_size 1"):
        config.PretrainConfig(batch_size=1)


@pytest.mark.parametrize("accepts", [checks.positive, checks.not_negative, checks.at_least_one, checks.share])
def test_no_number_is_infinite_or_missing(accepts: Callable[[float], bool]) -> None:
    assert accepts(1.0)
    assert not any(accepts(value) for value in (math.nan, math.inf, -math.inf, -1.0))
