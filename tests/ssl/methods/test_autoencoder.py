"""The autoencoder: its loss, and that it rebuilds what it is shown."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import mse_loss

from ssl_methods import frames, make, small


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_loss_is_torchs_mean_squared_error(count: int) -> None:
    method = make(small("autoencoder")).eval()
    first, _ = frames(count)
    loss, _ = method(first, first)
    rebuilt = method.rebuild(first)
    assert rebuilt is not None
    expected = mse_loss(rebuilt, first)
    torch.testing.assert_close(loss, expected)
    ours = torch.autograd.grad(loss, list(method.decoder.parameters()))
    theirs = torch.autograd.grad(expected, list(method.decoder.parameters()))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_trained_on_one_frame_it_rebuilds_it() -> None:
    method = make(small("autoencoder"))
    first = frames(1)[0].repeat(4, 1, 1, 1)
    optimizer = torch.optim.Adam(method.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        method(first, first)[0].backward()
        optimizer.step()
    rebuilt = method.rebuild(first)
    assert rebuilt is not None
    assert float((rebuilt - first).detach().square().mean()) < 0.1 * float(first.var())
