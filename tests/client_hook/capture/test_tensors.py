"""What a sample of a tensor sees: every part of what repeats in it, at the usual shapes, which are powers of two."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from client_hook.capture.batch_print import fingerprint
from client_hook.capture.tensors import rows, sample, spread

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


@pytest.mark.parametrize("shape", [(64, 64, 64, 64), (32, 64, 224, 224), (128, 32, 4_000), (4_096, 256)])
def test_what_is_measured_by_channel_comes_from_many_examples(shape: tuple[int, ...]) -> None:
    """One picture of 64 says nothing of how the others differ."""
    examples = torch.arange(shape[0]).view(-1, *[1] * (len(shape) - 1)).expand(shape)
    seen = spread(examples, 65_536)
    assert seen.shape[1] == shape[1]
    assert seen.numel() <= 65_536 * 1.5
    assert len(seen[:, 0].unique()) >= min(shape[0], 64) // 4


def test_the_channels_of_texts_are_all_looked_at() -> None:
    assert spread(torch.empty(32, 512, 768), 65_536, channel=2).shape[2] == 768


@pytest.mark.parametrize("order", ["sorted", "in turn"])
@pytest.mark.parametrize("classes", [2, 3, 5, 8, 10, 12])
def test_rows_come_from_everywhere(classes: int, order: str) -> None:
    """All of a sorted table, and not every tenth row of one whose ten classes come in turn."""
    labels = torch.arange(7_680) % classes
    seen = rows(labels.sort().values if order == "sorted" else labels, 256)
    assert 128 <= len(seen) <= 256
    assert int(torch.bincount(seen, minlength=classes).min()) > 0.7 * len(seen) / classes
    assert len(rows(labels[:9], 256)) == 9
