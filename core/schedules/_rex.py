"""The curve of REX, reflected exponential decay."""

from core.settings import setting

BEND = setting(
    0.9,
    "Bend (d)",
    "How long the rate stays high: 0 is a straight line, 0.5 the paper's curve, 0.9 OneTrainer's.",
    ge=0,
    lt=1,
    also=("d_param",),
)


def reflected(done: float, bend: float) -> float:
    """The curve at `done`, from 0 to 1: (1 - x) / (1 - d x). arXiv 2107.04197, where d is 0.5."""
    return (1 - done) / ((1 - bend) + bend * (1 - done))
