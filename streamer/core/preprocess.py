"""How a decoded picture becomes the encoder's input: one description for training and serving."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Fit(StrEnum):
    """How a picture of another shape is brought into the input's."""

    STRETCH = "stretch"
    """Each axis scaled by its own factor. Nothing is cut, shapes are distorted."""
    CROP = "crop"
    """Scaled to cover the input, then cut around the centre."""
    LETTERBOX = "letterbox"
    """Scaled to fit inside the input, black around it."""


class Interpolation(StrEnum):
    """The filter of libswscale. It changes features, so training and serving share it."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    AREA = "area"


class Preprocess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Decoded picture → uint8 RGB (height, width, 3), full range, by libswscale in one pass.

    Attributes:
        width: Pixels.
        height: Pixels.
        fit: See `Fit`.
        interpolation: See `Interpolation`.
    """

    width: int = 224
    height: int = 224
    fit: Fit = Fit.STRETCH
    interpolation: Interpolation = Interpolation.BILINEAR

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"expected a positive size, found {self.width}x{self.height}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image: (height, width, 3)."""
        return (self.height, self.width, 3)
