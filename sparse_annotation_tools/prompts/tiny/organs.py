"""The organs that are drawn: an outline, an interior, a range of sizes and of contrasts, and a name for prompts.

They are caricatures: enough that shape, texture, size and contrast together tell them apart, far too little to be
anatomy.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparse_annotation_tools.prompts.tiny import shapes
from sparse_annotation_tools.prompts.tiny.shapes import Shape

INTERIORS = ("even", "core", "rim", "speckle", "patchy", "vessels", "hollow")
"""even; a centre or an edge of another grey; bright dots; blotches; thin lines; a wall round a lumen."""


@dataclass(frozen=True, kw_only=True)
class Organ:
    """One kind of organ.

    Attributes:
        name: as it stands in prompts.
        shape: its outline.
        interior: one of `INTERIORS`.
        half_length: range of its half-length as a share of the slice's side.
        brighter: how often it is brighter than its surroundings.
    """

    name: str
    shape: Shape
    interior: str
    half_length: tuple[float, float]
    brighter: float


ORGANS = (
    Organ(name="kidney", shape=shapes.bean, interior="core", half_length=(0.12, 0.24), brighter=0.7),
    Organ(name="liver", shape=shapes.wedge, interior="vessels", half_length=(0.2, 0.34), brighter=0.6),
    Organ(name="spleen", shape=shapes.crescent, interior="even", half_length=(0.14, 0.26), brighter=0.6),
    Organ(name="aorta", shape=shapes.disc, interior="rim", half_length=(0.06, 0.14), brighter=0.7),
    Organ(name="vertebra", shape=shapes.ring_with_arch, interior="rim", half_length=(0.15, 0.27), brighter=0.6),
    Organ(name="lung", shape=shapes.half_disc, interior="speckle", half_length=(0.18, 0.32), brighter=0.0),
    Organ(name="left atrium", shape=shapes.body_with_stubs, interior="even", half_length=(0.14, 0.3), brighter=0.75),
    Organ(name="hippocampus", shape=shapes.comma, interior="even", half_length=(0.13, 0.26), brighter=0.5),
    Organ(name="ventricle", shape=shapes.two_horns, interior="even", half_length=(0.13, 0.26), brighter=0.4),
    Organ(name="bladder", shape=shapes.oval, interior="even", half_length=(0.12, 0.26), brighter=0.5),
    Organ(name="tumour", shape=shapes.star, interior="patchy", half_length=(0.08, 0.22), brighter=0.5),
    Organ(name="bowel", shape=shapes.wavy_disc, interior="hollow", half_length=(0.1, 0.2), brighter=0.6),
)

TISSUE = "surrounding tissue"
"""What a mask shows that follows no organ."""

NAMES = (*(organ.name for organ in ORGANS), TISSUE)
