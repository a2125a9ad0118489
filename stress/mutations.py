"""Seeded changes to the bytes of an input file: what a bad disk, a bad exporter or bad intent would do."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

Mutation = Callable[[bytes, np.random.Generator], bytes]

WORDS = (
    b"", b"-1", b"0", b"1", b"2", b"3", b"7", b"255", b"256", b"65536", b"4294967296", b"1e9", b"1e999", b"nan", b"inf",
    b"-inf", b"0.5", b"99999999999999999999999", b"9" * 5000, b"null", b"true", b"axial", b"Sagittal", b"../../x",
    b"/etc/passwd", b"a b", b"\xc3\xa9", b"\xff\xfe", b"\x00", b'"', b"\n", b"\r\n", b",", b";", b"=", b"(", b"{", b"[",
)  # fmt: skip
NUMBERS = (0, 1, 2, 3, 4, -1, -2, 7, 8, 16, 64, 255, 256, 512, 1024, 32767, -32768, 2**31 - 1, -(2**31), 2**40, 2**62)
REALS = (0.0, 1.0, -1.0, 2.0, 0.5, 1e-30, 1e30, 3e38, float("nan"), float("inf"), float("-inf"), 348.0, 352.0, 1e9)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 10**30, 0.5, -0.0, 1e308, "", "a", "../../x", "/etc/passwd", "axial", "a" * 300,
    "\x00", "é", "<b>", [], [0], [[]], {}, {"a": 1}, {"": None},
)  # fmt: skip


def flip_bits(content: bytes, random: np.random.Generator) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(content)
    for _ in range(int(random.integers(1, 9)) if changed else 0):
        changed[random.integers(len(changed))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def cut(content: bytes, random: np.random.Generator) -> bytes:
    """Keep the beginning."""
    return content[: random.integers(len(content) + 1)]


def remove(content: bytes, random: np.random.Generator) -> bytes:
    """Take a piece out."""
    start = int(random.integers(len(content) + 1))
    return content[:start] + content[start + int(random.integers(1, 40)) :]


def repeat(content: bytes, random: np.random.Generator) -> bytes:
    """Say a piece twice."""
    start = int(random.integers(len(content) + 1))
    end = start + int(random.integers(1, 60))
    return content[:end] + content[start:]


def insert(content: bytes, random: np.random.Generator) -> bytes:
    """Put a word or rubbish somewhere."""
    at = int(random.integers(len(content) + 1))
    rubbish = random.integers(0, 256, int(random.integers(1, 20)), np.uint8).tobytes()
    piece = rubbish if random.random() < 0.3 else WORDS[random.integers(len(WORDS))]
    return content[:at] + piece + content[at:]


def replace_word(content: bytes, random: np.random.Generator) -> bytes:
    """Put another word in the place of one, in the first 2000 bytes."""
    head, tail = content[:2000], content[2000:]
    spans, start = [], None
    for place, byte in enumerate(head + b" "):
        wordy = bytes([byte]).isalnum() or byte in b"._-"
        if wordy and start is None:
            start = place
        elif not wordy and start is not None:
            spans.append((start, place))
            start = None
    if not spans:
        return insert(content, random)
    first, last = spans[random.integers(len(spans))]
    return head[:first] + WORDS[random.integers(len(WORDS))] + head[last:] + tail


def drop_line(content: bytes, random: np.random.Generator) -> bytes:
    """Drop, double or swap lines of the first 2000 bytes."""
    lines = content[:2000].split(b"\n")
    one, other = random.integers(len(lines), size=2)
    choice = random.integers(3)
    if choice == 0:
        del lines[one]
    elif choice == 1:
        lines.insert(other, lines[one])
    else:
        lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines) + content[2000:]


_NIFTI_FIELDS = (
    *[("h", 40 + 2 * each) for each in range(8)], ("h", 68), ("h", 70), ("h", 72), ("h", 252), ("h", 254), ("i", 0),
    *[("f", 76 + 4 * each) for each in range(8)], ("f", 108), ("f", 112), ("f", 116),
    *[("f", 256 + 4 * each) for each in range(6)], *[("f", 280 + 4 * each) for each in range(12)], ("B", 123),
    *[("B", 344 + each) for each in range(8)],
)  # fmt: skip


def nifti_field(content: bytes, random: np.random.Generator) -> bytes:
    """Put an unusual number into one to three fields of a NIfTI-1 header."""
    if len(content) < 352:
        return flip_bits(content, random)
    changed = bytearray(content)
    for _ in range(int(random.integers(1, 4))):
        kind, offset = _NIFTI_FIELDS[random.integers(len(_NIFTI_FIELDS))]
        size = struct.calcsize(kind)
        if kind == "f":
            packed = struct.pack("<f", REALS[random.integers(len(REALS))])
        else:
            packed = (NUMBERS[random.integers(len(NUMBERS))] % (1 << 8 * size)).to_bytes(size, "little")
        changed[offset : offset + size] = packed
    return bytes(changed)


def voxels(content: bytes, random: np.random.Generator) -> bytes:
    """Change some bytes of the voxels, the last part of the file."""
    changed = bytearray(content)
    first = min(len(changed), 352)
    for _ in range(int(random.integers(1, 12)) if len(changed) > first else 0):
        changed[random.integers(first, len(changed))] = int(random.choice([0, 1, 2, 3, 127, 128, 255]))
    return bytes(changed)


def packed(mutation: Mutation) -> Mutation:
    """Apply a mutation to what a gzip file holds; one time in eight to the packed bytes themselves."""

    def mutate(content: bytes, random: np.random.Generator) -> bytes:
        if random.random() < 0.125:
            return mutation(content, random)
        return gzip.compress(mutation(gzip.decompress(content), random), 1, mtime=0)

    return mutate


def json_value(content: bytes, random: np.random.Generator) -> bytes:
    """Replace, drop, double or rename one value somewhere in a JSON tree."""
    tree = json.loads(content)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(tree)
    if not places:
        return content
    node, key = places[random.integers(len(places))]
    value = VALUES[random.integers(len(VALUES))]
    choice = random.integers(5)
    if choice == 0:
        del node[key]
    elif choice == 1 and isinstance(node, dict):
        node[value if isinstance(value, str) else "x"] = node.pop(key)
    elif choice == 2 and isinstance(node[key], (int, float)):
        node[key] = node[key] + int(random.choice([-1, 1, 1000]))
    else:
        node[key] = value
    return json.dumps(tree, indent=2).encode()


ANY: tuple[Mutation, ...] = (flip_bits, cut, remove, repeat, insert)
TEXT: tuple[Mutation, ...] = (*ANY, replace_word, replace_word, drop_line)
JSON: tuple[Mutation, ...] = (json_value,) * 6 + TEXT
NIFTI: tuple[Mutation, ...] = (nifti_field,) * 5 + (voxels,) * 2 + ANY
PACKED_NIFTI: tuple[Mutation, ...] = tuple(packed(each) for each in NIFTI)
