"""Settings of segment proposals (paper, section 6)."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, field_validator

from keras_fpn.parts.settings import Channels, Count, Probability, Settings, Side


class SegmentSettings(Settings):
    """Of `SegmentGrid`, `SegmentHead`, and their targets and losses."""

    units: Channels = 512
    mask_size: Side = 14
    kernel_sizes: Annotated[list[Literal[5, 7]], Field(min_length=1, max_length=2)] = [5, 7]
    canonical_size: PositiveFloat = 32.0
    samples_per_image: Count = 128
    positive_fraction: Probability = 0.25
    crowd_ioa: Probability = 0.7
    mask_loss_weight: NonNegativeFloat = 10.0
    max_detections: Count = 1000
    conventions = ("canonical_size",)

    @field_validator("kernel_sizes")
    @classmethod
    def _rising(cls, sizes):
        if sizes not in ([5], [7], [5, 7]):
            raise ValueError("kernel_sizes must be [5], [7] or [5, 7]")
        return sizes


GROUPS = {"segments": SegmentSettings}
