"""Which device a command computes on."""

from __future__ import annotations

CHOICES = ("auto", "cpu", "cuda", "mps")


def pick_device(wanted: str) -> str:
    """Return `wanted`, or for `auto` cuda where there is one and else cpu."""
    if wanted != "auto":
        return wanted
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
