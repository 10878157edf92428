"""TranslationError: the pod asks for something that cannot be turned into a program on a device."""

from __future__ import annotations

from typing import Final

from gateway.pods.seams import StartRefused

CONFIG_ERROR: Final = "CreateContainerConfigError"
UNKNOWN_IMAGE: Final = "ErrImageNeverPull"


class TranslationError(StartRefused):
    """The message is in the kubelet's words where it has some, with the path of the key behind it."""

    def __init__(self, path: str, message: str, *, is_unsupported: bool = False) -> None:
        super().__init__(CONFIG_ERROR, f"{message} ({path})")
        self.path = path
        self.is_unsupported = is_unsupported
        """Nothing but another pod template can help; what is merely missing now may come."""
