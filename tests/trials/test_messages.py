"""Messages of a trial survive their way as JSON, NaN included; what is no message is refused."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from pydantic import ValidationError

from hoir_ray.trials.messages import (
    Arrived,
    EpochEnded,
    Failed,
    Finished,
    Message,
    Placed,
    Preempted,
    StorageFailed,
    parse_message,
)

ALL: list[Message] = [
    Arrived(workers=(("node-1", "host, process 1"), ("node-1", "host, process 2"))),
    Placed(node="host, process 1", notes=("a note",), curve=({"epoch": 1.0, "val_loss": 0.5},)),
    EpochEnded(row={"epoch": 2.0, "val_loss": 0.25, "val_psnr_db": math.inf}),
    Finished(reason="trained to the end", model="models/t0001", unsaved="no bucket"),
    Preempted(reason="its machine is about to go"),
    Failed(reason="no memory", error="trace", state="OOM", batch_size=8),
    Failed(reason="its machine was lost", is_preemption=True),
    StorageFailed(reason="no bucket"),
]


@pytest.mark.parametrize("message", ALL, ids=lambda m: m.kind)
def test_a_message_comes_back_as_it_was(message):
    again = parse_message(message.to_json())
    assert type(again) is type(message)
    assert again == message


def test_every_kind_of_message_is_tried_above():
    union, _ = get_args(Message)
    assert {type(m) for m in ALL} == set(get_args(union))


def test_nan_stays_nan():
    message = parse_message(EpochEnded(row={"epoch": 1.0, "val_loss": math.nan}).to_json())
    assert isinstance(message, EpochEnded)
    assert math.isnan(message.row["val_loss"])


@pytest.mark.parametrize(
    "text", ['{"kind": "gone"}', "{}", '{"kind": "epoch_ended"}', '{"kind": "placed", "row": {}}', "no"]
)
def test_what_is_no_message_is_refused(text):
    with pytest.raises(ValidationError):
        parse_message(text)
