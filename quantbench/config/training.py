"""Settings of a training: `workload.training` of a workload file, and what the rows of an ablation change of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

PositiveInt = Annotated[int, Field(gt=0, strict=True)]
# What one schedule reads and no other; given with another one it would do nothing, which is a mistake.
SCHEDULE_KEYS = {"warmup_cosine": ("warmup_epochs", "min_lr"), "step": ("step_epochs", "step_factor"), "constant": ()}


class TrainingConfig(BaseModel):
    """Settings of the training of the fp32 baseline.

    Attributes:
        epochs: passes over the training samples.
        optimizer: `sgd` with `momentum`, or `adamw` with the moments of its paper (Loshchilov and Hutter 2019,
            arXiv:1711.05101), which transformers need.
        lr: peak learning rate.
        momentum: of `sgd`.
        weight_decay: of both optimizers.
        schedule: of the learning rate, batch by batch. `warmup_cosine`: a linear rise over `warmup_epochs`, then half a
            cosine down to `min_lr`. `step`: `lr`, multiplied by `step_factor` after each of the `step_epochs`.
            `constant`: `lr` throughout.
        warmup_epochs: of the rise of `warmup_cosine`.
        min_lr: at the end of `warmup_cosine`.
        step_epochs: numbers of finished epochs, ascending: `[20]` lowers the rate for epoch 21 and all later ones.
        step_factor: of `step`.
        batch_size: samples of one step.
        patience: epochs without a better one on the validation split after which training ends; 0 or null: never.
        precision: of the forward and backward computations; bf16 is `torch.autocast`, with fp32 weights.
        augment: applied to training samples only.
        seed: of weights, order and augmentation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: PositiveInt
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    schedule: Literal["warmup_cosine", "step", "constant"] = "warmup_cosine"
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    min_lr: Annotated[float, Field(ge=0)] = 0.0
    step_epochs: Annotated[tuple[PositiveInt, ...], Field(validate_default=True)] = ()
    step_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    batch_size: PositiveInt = 128
    patience: Annotated[int, Field(ge=0, strict=True)] | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    augment: tuple[Literal["pad_crop", "horizontal_flip", "time_shift"], ...] = ("pad_crop", "horizontal_flip")
    seed: Annotated[int, Field(ge=0, lt=1 << 32, strict=True)] = 0

    @field_validator("momentum")
    @classmethod
    def _is_read_by_the_optimizer(cls, value: float, info: ValidationInfo) -> float:
        if info.data.get("optimizer") == "adamw":
            raise PydanticCustomError(
                "optimizer", "is read by optimizer: sgd only, and this is optimizer: adamw; remove it"
            )
        return value

    @field_validator("warmup_epochs", "min_lr", "step_epochs", "step_factor")
    @classmethod
    def _is_read_by_the_schedule(cls, value: Any, info: ValidationInfo) -> Any:
        schedule = info.data.get("schedule")
        if schedule is None or value == () or info.field_name in SCHEDULE_KEYS[schedule]:
            return value
        reader = next(name for name, keys in SCHEDULE_KEYS.items() if info.field_name in keys)
        raise PydanticCustomError(
            "schedule",
            "is read by schedule: {reader} only, and this is schedule: {schedule}; remove it, or set schedule: "
            "{reader}",
            {"reader": reader, "schedule": schedule},
        )

    @field_validator("step_epochs")
    @classmethod
    def _steps_fit(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        schedule, epochs = info.data.get("schedule"), info.data.get("epochs")
        if schedule == "step" and not value:
            raise PydanticCustomError(
                "steps", "schedule: step needs the epochs after which the rate falls, such as [20]"
            )
        if list(value) != sorted(set(value)):
            raise PydanticCustomError("steps", "the epochs must ascend, each given once")
        if value and epochs is not None and value[-1] >= epochs:
            raise PydanticCustomError(
                "steps",
                "the rate would fall after epoch {last}, but there are only {epochs} epochs; each must be below that",
                {"last": value[-1], "epochs": epochs},
            )
        return value

    def changed(self, changes: Mapping[str, Any]) -> TrainingConfig:
        """These settings with some replaced, checked as a whole; a new schedule drops the settings of the former one.

        Raises:
            ValidationError: as for a file.
        """
        kept = self.model_dump(exclude_unset=True)
        # Whatever a file gives, which need not be a text.
        if (new := changes.get("schedule")) in list(SCHEDULE_KEYS):
            for schedule, keys in SCHEDULE_KEYS.items():
                if schedule != new:
                    kept = {key: value for key, value in kept.items() if key not in keys}
        if changes.get("optimizer") == "adamw":
            kept.pop("momentum", None)
        return TrainingConfig.model_validate({**kept, **changes})

    def in_bf16(self) -> TrainingConfig:
        """These settings, computed in bf16."""
        return self.model_copy(update={"precision": "bf16"})

    def described(self) -> dict[str, Any]:
        """As JSON, without what schedule and optimizer do not read, and without the patience that is not asked for."""
        unread = {key for schedule, keys in SCHEDULE_KEYS.items() if schedule != self.schedule for key in keys}
        unread |= {"momentum"} if self.optimizer == "adamw" else set()
        described = self.model_dump(mode="json", exclude=unread)
        if not self.patience:
            del described["patience"]
        return described
