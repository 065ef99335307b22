"""Event files as real writers make them, whole, torn and broken."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.proto.tensor_pb2 import TensorProto

from server.tensorboard.events import MOST_BYTES, EventFile, masked_crc, read


def written(folder: Path) -> Path:
    """Writes scalars, and what is none of them, as a training does."""
    with SummaryWriter(str(folder)) as writer:
        for step in range(5):
            writer.add_scalar("loss", 1.0 / (step + 1), step)
        writer.add_scalar("loss", math.nan, 5)
        writer.add_scalar("late", 2.0)
        writer.add_text("words", "no number")
        writer.add_histogram("weights", [1.0, 2.0, 3.0], 0)
    return next(folder.glob("*tfevents*"))


def record(data: bytes) -> bytes:
    header = struct.pack("<Q", len(data))
    return header + struct.pack("<I", masked_crc(header)) + data + struct.pack("<I", masked_crc(data))


def event(**value: object) -> bytes:
    return Event(wall_time=10.5, step=7, summary=Summary(value=[Summary.Value(tag="x", **value)])).SerializeToString()


def of(tmp_path: Path, data: bytes) -> EventFile:
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(data)
    return read(path)


def test_scalars_come_with_step_and_time_and_all_else_is_passed_over(tmp_path: Path) -> None:
    found = read(written(tmp_path))
    assert {scalar.tag for scalar in found.scalars} == {"loss", "late"}
    losses = {scalar.step: scalar.value for scalar in found.scalars if scalar.tag == "loss"}
    assert losses == pytest.approx({step: 1.0 / (step + 1) for step in range(5)} | {5: math.nan}, nan_ok=True)
    assert all(abs(scalar.wall_s - found.path.stat().st_mtime) < 60 for scalar in found.scalars)
    assert (found.torn, found.unread, found.config) == (False, 0, {})


def test_the_checksum_is_that_of_the_format() -> None:
    data = bytes(32)  # RFC 3720, B.4: CRC-32C of 32 zeros is 8a9136aa
    crc = 0x8A9136AA
    assert masked_crc(data) == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_what_stands_before_a_torn_end_is_kept(tmp_path: Path) -> None:
    whole = written(tmp_path / "w").read_bytes()
    counts = []
    for cut in range(0, len(whole), 7):
        found = of(tmp_path, whole[:cut])
        counts.append(len(found.scalars))
        assert found.unread == 0
        assert not found.scalars or found.scalars[0].tag in ("loss", "late")
    assert counts == sorted(counts)
    assert of(tmp_path, whole[:-3]).torn


def test_a_length_that_was_overwritten_ends_the_file(tmp_path: Path) -> None:
    good = record(event(simple_value=1.5))
    found = of(tmp_path, good + b"\xff" * 40 + good)
    assert [scalar.value for scalar in found.scalars] == [1.5]
    assert found.torn


def test_a_record_that_is_no_event_is_counted_and_the_next_one_read(tmp_path: Path) -> None:
    found = of(tmp_path, record(b"\x0a\xff\xff") + record(event(simple_value=2.0)))
    assert [scalar.value for scalar in found.scalars] == [2.0]
    assert (found.unread, found.torn) == (1, False)


def test_a_record_too_large_for_a_scalar_is_not_read(tmp_path: Path) -> None:
    found = of(tmp_path, record(bytes(MOST_BYTES + 1)) + record(event(simple_value=3.0)))
    assert [scalar.value for scalar in found.scalars] == [3.0]
    assert found.unread == 0


@pytest.mark.parametrize(
    ("tensor", "value"),
    [
        (TensorProto(dtype=1, float_val=[1.25]), 1.25),
        (TensorProto(dtype=2, double_val=[1e300]), 1e300),
        (TensorProto(dtype=1, tensor_content=struct.pack("<f", -0.5)), -0.5),
        (TensorProto(dtype=9, tensor_content=struct.pack("<q", -3)), -3.0),
        (TensorProto(dtype=1, float_val=[1.0, 2.0]), None),
        (TensorProto(dtype=2, tensor_content=bytes(80)), None),
        (TensorProto(dtype=7, string_val=[b"words"]), None),
    ],
)
def test_tensors_of_one_number_are_scalars_too(tmp_path: Path, tensor: TensorProto, value: float | None) -> None:
    found = of(tmp_path, record(event(tensor=tensor)))
    assert [(scalar.step, scalar.wall_s, scalar.value) for scalar in found.scalars] == (
        [] if value is None else [(7, 10.5, value)]
    )


def test_hyper_parameters_and_the_arguments_of_a_trainer_are_the_config(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_hparams({"lr": 0.5, "layers": 3, "optimizer": "sgd", "amp": True}, {"accuracy": 0.9}, name="trial")
    (trial,) = (tmp_path / "trial").glob("*tfevents*")
    assert read(trial).config == {"lr": 0.5, "layers": 3, "optimizer": "sgd", "amp": True}
    text = TensorProto(dtype=7, string_val=[b'{"seed": 7}'])
    data = Event(summary=Summary(value=[Summary.Value(tag="args/text_summary", tensor=text)])).SerializeToString()
    assert of(tmp_path, record(data)).config == {"seed": 7}


@given(st.binary(max_size=300))
def test_no_bytes_raise(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("any")
    for content in (data, record(data), record(event(simple_value=1.0)) + data):
        assert len(of(folder, content).scalars) <= 1 + len(data)
