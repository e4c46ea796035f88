"""What is recorded besides the events."""

from __future__ import annotations

from core.settings import Settings, setting


class Logging(Settings):
    """What is recorded besides the events."""

    tensorboard: bool = setting(
        True, "TensorBoard", "Writes curves and samples for TensorBoard into the workspace.", affects="log"
    )
