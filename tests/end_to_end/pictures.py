"""Pictures: two coloured halves and a bar that moves, made and recognised."""

from dataclasses import dataclass

import av
import numpy as np

WIDTH, HEIGHT = 320, 240
#: The bar keeps encoders honest: a still picture costs them nothing and hides frames that never arrived.
BAR_HEIGHT = 16
#: Lossy coding and two colour conversions; colours in the tests differ by 100 and more.
TOLERANCE = 24


@dataclass(frozen=True)
class Picture:
    """What the two halves show, as (red, green, blue)."""

    left: tuple[int, int, int]
    right: tuple[int, int, int]

    def draw(self, number: int) -> av.VideoFrame:
        """Draw frame ``number`` of the film."""
        pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        pixels[:, : WIDTH // 2] = self.left
        pixels[:, WIDTH // 2 :] = self.right
        bar = (number * 7) % (WIDTH - 32)
        pixels[-BAR_HEIGHT:] = 128
        pixels[-BAR_HEIGHT:, bar : bar + 32] = 255
        return av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")

    def matches(self, frame: av.VideoFrame) -> bool:
        """Tell whether a decoded frame shows this picture."""
        if (frame.width, frame.height) != (WIDTH, HEIGHT):
            return False
        pixels = frame.to_ndarray(format="rgb24")[: HEIGHT - 2 * BAR_HEIGHT]
        left = pixels[:, 16 : WIDTH // 2 - 16].mean(axis=(0, 1))
        right = pixels[:, WIDTH // 2 + 16 : -16].mean(axis=(0, 1))
        return bool(
            np.all(np.abs(left - self.left) < TOLERANCE) and np.all(np.abs(right - self.right) < TOLERANCE)
        )
