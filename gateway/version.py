"""Which Wirelet this is, in the words of Kubernetes."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
KUBELET_VERSION: Final = f"v1.36.3+wirelet.{VERSION}"
"""The Kubernetes version whose kubelet we behave like; tools compare it, and the build part says who we are."""
