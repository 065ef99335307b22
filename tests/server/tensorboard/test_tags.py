"""What everybody calls the loss, the rate and the validation."""

from __future__ import annotations

import pytest

from server.tensorboard.tags import names_of


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("loss", "loss"), ("Loss/train", "loss"), ("train/loss", "loss"), ("train_loss", "loss"),
        ("Training Loss", "loss"), ("epoch_loss", "loss"), ("train_loss_step", "loss"), ("batch_loss", "loss"),
        ("Loss/val", "val/loss"), ("eval/loss", "val/loss"), ("val_loss", "val/loss"), ("Validation Loss", "val/loss"),
        ("val/epoch_loss", "val/loss"), ("total_loss", "loss"), ("Train/Total Loss", "loss"), ("Loss/total", "loss"),
        ("val_total_loss", "val/loss"),
        ("lr", "lr/0"), ("train/learning_rate", "lr/0"), ("learning-rate", "lr/0"), ("lr-Adam", "lr/0"),
        ("lr-AdamW/pg1", "lr/0"), ("lr/0", "lr/0"), ("charts/learning_rate", "lr/0"), ("optimizer/lr", "lr/0"),
        ("lr-AdamW/encoder", "lr/encoder"), ("lr-AdamW/pg3", "lr/2"), ("lr-SGD/pg3-momentum", "lr-SGD/pg3-momentum"),
        ("train/grad_norm", "grad_norm"), ("Gradient Norm", "grad_norm"), ("epoch", "epoch"),
        ("train/epoch", "epoch"),
        ("Accuracy/val", "val/Accuracy"), ("eval_accuracy", "val/accuracy"), ("val/f1", "val/f1"),
        ("eval/runtime", "eval/runtime"), ("eval/samples_per_second", "eval/samples_per_second"),
        ("test/loss", "test/loss"), ("perplexity", "perplexity"), ("loss_scale", "loss_scale"),
        ("value", "value"), ("validity", "validity"), ("act/std/fc", "user/act/std/fc"),
        ("time/step", "user/time/step"),
    ],
)  # fmt: skip
def test_a_tag_is_the_series_that_is_meant(tag: str, name: str) -> None:
    assert names_of([tag])[tag] == name


def test_a_sum_of_losses_is_the_loss_where_none_is_called_just_that() -> None:
    assert names_of(["total_loss", "loss_cls", "loss_box_reg"]) == {
        "total_loss": "loss", "loss_cls": "loss_cls", "loss_box_reg": "loss_box_reg",
    }  # fmt: skip
    assert names_of(["total_loss", "train/loss"])["train/loss"] == "loss"


def test_of_two_losses_the_one_of_every_step_is_the_loss() -> None:
    names = names_of(["train_loss_epoch", "train_loss_step", "val_loss", "lr-SGD", "epoch"])
    assert names["train_loss_step"] == "loss"
    assert names["train_loss_epoch"] == "train_loss_epoch"
    assert names["val_loss"] == "val/loss"


def test_each_group_of_lightning_has_its_rate() -> None:
    tags = ["lr-AdamW/encoder", "lr-AdamW/head", "lr-SGD/pg1", "lr-SGD/pg2", "lr-SGD/pg2-momentum"]
    names = names_of(tags)
    assert [names[tag] for tag in tags] == ["lr/encoder", "lr/head", "lr/0", "lr/1", "lr-SGD/pg2-momentum"]


def test_no_two_tags_become_one_series() -> None:
    tags = ["Acc/val", "val/Acc", "loss", "Loss", "loss/train", "time/step", "user/time/step", "lr", "lr/0", "eval_Acc"]
    names = names_of(tags)
    assert set(names) == set(tags)
    assert len(set(names.values())) == len(tags)


def test_the_validation_of_keras_counts_as_its_loss_does() -> None:
    validation = ["val/epoch_loss", "val/evaluation_loss_vs_iterations"]
    assert names_of(["epoch_loss", *validation])["val/epoch_loss"] == "val/loss"
    assert names_of(["batch_loss", "epoch_loss", *validation])["val/evaluation_loss_vs_iterations"] == "val/loss"
