"""What a sample of a tensor sees: every part of what repeats in it, at the usual shapes, which are powers of two."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from client_hook.capture.batch_print import fingerprint
from client_hook.capture.tensors import sample

SHAPES = [
    ((64, 32, 8, 8), 4_096),  # images of a small network: an example takes 2,048, a 64th of it all
    ((64, 32, 32, 32), 4_096),
    ((64, 3, 32, 32), 16_384),
    ((256, 784), 16_384),  # the first layer of the usual network for handwritten digits
    ((4_096, 256), 4_096),
    ((8, 512, 768), 4_096),
    ((2_048, 2_048), 4_096),
]


@pytest.mark.parametrize(("shape", "count"), SHAPES)
def test_a_sample_sees_every_part_of_each_axis(shape: tuple[int, ...], count: int) -> None:
    for axis, size in enumerate(shape):
        places = torch.arange(size).view(-1, *[1] * (len(shape) - axis - 1)).expand(shape).float().contiguous()
        seen = sample(places, count)
        parts = min(size, 8)  # an eighth of the units, of the rows, of the examples
        assert len((seen * parts / size).long().unique()) == parts, f"axis {axis}"
        assert float(seen.mean()) == pytest.approx((size - 1) / 2, rel=0.2), f"axis {axis}"


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided"])
def test_pictures_with_a_black_edge_are_not_black(layout: str) -> None:
    pictures = torch.zeros(64, 1, 32, 32)
    pictures[..., 4:28, 4:28] = 1.0
    if layout == "channels_last":
        pictures = pictures.expand(64, 4, 32, 32).to(memory_format=torch.channels_last)
    elif layout == "strided":
        pictures = pictures.repeat_interleave(2, dim=3)[..., ::2]
    assert float(sample(pictures, 4_096).mean()) == pytest.approx(float(pictures.mean()), abs=0.1)


@settings(max_examples=200, deadline=None)
@given(
    shape=st.lists(st.sampled_from([3, 4, 7, 8, 10, 16, 28, 32, 48, 64, 100, 128]), min_size=2, max_size=4),
    axis=st.integers(0, 3),
    count=st.sampled_from([1_024, 4_096]),
)
def test_half_of_an_axis_is_about_half_of_a_sample(shape: list[int], axis: int, count: int) -> None:
    size = shape[axis % len(shape)]
    half = torch.zeros(shape)
    half.narrow(axis % len(shape), 0, size // 2).fill_(1.0)
    if half.numel() <= 1_000_000:
        seen = sample(half, count)
        assert len(seen) <= count
        assert abs(float(seen.mean()) - float(half.mean())) < 0.2


def test_batches_with_a_black_edge_have_prints_of_their_own() -> None:
    def batch(seed: int) -> Tensor:
        pictures = torch.zeros(64, 1, 32, 32)
        pictures[..., 4:28, 4:28] = torch.rand(64, 1, 24, 24, generator=torch.Generator().manual_seed(seed))
        return pictures

    one, again, other = (fingerprint([batch(seed)])[0]["hash"] for seed in (0, 0, 1))
    assert one == again != other
