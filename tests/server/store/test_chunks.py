"""Chunks: what is packed comes back bit by bit, smooth curves become small, damage is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import StoreError
from server.store import chunks

BITS = {4: np.dtype("<u4"), 8: np.dtype("<u8")}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([4, 8]), st.integers(1, 40), st.data(), st.sampled_from([None, True, False]))
def test_any_bits_come_back(width: int, samples: int, data: st.DataObject, differences: bool | None) -> None:
    bits = st.lists(st.integers(0, 2 ** (8 * width) - 1), min_size=samples, max_size=samples)
    whole = np.array(data.draw(st.lists(bits, min_size=1, max_size=3)), BITS[width])
    values = whole.view(f"<f{width}")
    packed = chunks.pack(values, differences=differences)
    back = [chunks.unpack(chunk, values.dtype, samples) for chunk in packed]
    assert np.stack(back).tobytes() == values.tobytes()


def test_noise_takes_little_more_than_its_bits_and_smooth_or_constant_curves_far_less() -> None:
    noise = np.random.default_rng(0).normal(size=1024)
    curve = 1e-3 * (1 + np.cos(np.linspace(0, 3, 1024)))
    values = np.stack((noise, curve, np.full(1024, 0.125), np.full(1024, np.nan))).astype("<f4")
    sizes = [len(chunk) / 1024 for chunk in chunks.pack(values)]
    assert sizes[0] < 3.5
    assert sizes[1] < 2.0
    assert max(sizes[2:]) < 0.15


def test_damage_another_version_and_another_type_are_told() -> None:
    (chunk,) = chunks.pack(np.arange(100, dtype="<f4")[None])
    dtype = np.dtype("<f4")
    broken = bytearray(chunk)
    broken[-1] ^= 1
    with pytest.raises(StoreError, match=r"A chunk of the database is damaged: its CRC does not fit its bytes"):
        chunks.unpack(bytes(broken), dtype, 100)
    with pytest.raises(StoreError, match=r"A chunk of the database is damaged"):
        chunks.unpack(chunk, np.dtype("<f8"), 100)
    with pytest.raises(StoreError, match=r"A chunk has version 9, expected 1\. Upgrade gradwatch\."):
        chunks.unpack(b"\x09" + chunk[1:], dtype, 100)
    with pytest.raises(ValueError, match="a chunk of 65536 samples; at most 65535 fit"):
        chunks.pack(np.zeros((1, 65_536), "<f4"))


def test_tables_and_squeezed_arrays_come_back() -> None:
    rows = np.array([[0, 5, 3, -(2**62)], [2**63 - 1, -(2**63), 7, 7]])
    assert np.array_equal(np.stack(chunks.unpack_table(chunks.pack_table(rows), 2, 4)), rows)
    values = np.random.default_rng(1).normal(size=(3, 50)).astype("<f4")
    assert chunks.unsqueeze(chunks.squeeze(values), values.dtype).tobytes() == values.tobytes()
