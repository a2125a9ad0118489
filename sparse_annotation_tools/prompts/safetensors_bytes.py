"""The same content, the same bytes: safetensors writes metadata in random order."""

from __future__ import annotations

import json


def with_sorted_metadata(content: bytes) -> bytes:
    """Return a .safetensors file's bytes with its metadata sorted by name."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[start:]
