"""What is compared: the rows of the paper's tables, and what each needs.

A row is a trainer and a dataset. What is a training setting is in the trainer's class (`nnunetv2_rada.variants`); what
is a property of the dataset (slices, prompts) is asked of the dataset. All rows share one set of settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sparse_annotation_tools.errors import UserError

REFERENCE = "RADA"
"""The row that all others are compared with."""


@dataclass(frozen=True, kw_only=True)
class DatasetNeed:
    """How a row's dataset differs from the one that the user gave; None and False: not at all.

    Attributes:
        slices: slice strategy, such as SA.
        prompt: name of a text template.
        planes: letters of the planes whose image embeddings are averaged.
        encoder: `clip` for the CLIP encoder that ignores the mask.
        labelled_only: the labelled scans alone, as stock nnU-Net trains.
    """

    slices: str | None = None
    prompt: str | None = None
    planes: str | None = None
    encoder: str | None = None
    labelled_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table: what trains on what.

    Attributes:
        name: what `--methods` takes.
        trainer: class name without `nnUNetTrainer`.
        need: the dataset.
        matches_seconds: whether it gets the reference's seconds instead of its number of iterations, as rows do whose
            networks are of another size or number.
    """

    name: str
    trainer: str
    need: DatasetNeed = field(default_factory=DatasetNeed)
    matches_seconds: bool = False

    @property
    def trainer_class(self) -> str:
        """Name of the trainer's class."""
        return f"nnUNetTrainer{self.trainer}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row's place in a table: how it is called there, and which line of the paper it corresponds to."""

    row: Row
    label: str
    paper: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table or figure of the paper."""

    name: str
    title: str
    paper_tables: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def rows(self) -> list[Row]:
        """Its rows in order."""
        return [entry.row for entry in self.entries]


_RADA = Row(name=REFERENCE, trainer="RADA")
_SGTC = Row(name="SGTC", trainer="SGTC")

# The paper's name of each compared method, its trainer, and the trainer that fits two slices, where that is another.
_TWO_SLICES = (
    ("DeSCO", "DeSCO", "DeSCO_AxialSagittal"),
    ("BCP", "BCP", "BCP"),
    ("DTC", "DTC", "DTC"),
    ("CPS", "CPS", "CPS"),
    ("SASSNet", "SASSNet", "SASSNet"),
    ("UA-MT", "UAMT", "UAMT"),
    ("MT", "MT", "MT"),
)


def _methods() -> tuple[Entry, ...]:
    """Tables I to III: on the slices of the dataset, and once more on the two slices that the paper gave them."""
    given = [Entry(row=Row(name=name, trainer=trainer), label=name) for name, trainer, _ in _TWO_SLICES]
    two = [
        Entry(
            row=Row(name=f"{name}-SA", trainer=trainer, need=DatasetNeed(slices="SA")),
            label=f"{name}, slices SA",
            paper={"method": name, "labeled_slices": "SA"},
        )
        for name, _, trainer in _TWO_SLICES
    ]
    return (
        Entry(row=_RADA, label="RADA", paper={"method": "RADA", "labeled_slices": "SCA"}),
        Entry(row=_SGTC, label="SGTC", paper={"method": "SGTC", "labeled_slices": "SCA"}),
        *given,
        Entry(row=Row(name="Supervised", trainer="Supervised"), label="annotated planes alone (floor)"),
        Entry(
            row=Row(name="Stock", trainer="Stock", need=DatasetNeed(labelled_only=True), matches_seconds=True),
            label="stock nnU-Net, equal seconds",
        ),
        *two,
    )


def _modules() -> tuple[Entry, ...]:
    """Tables IV to VI: image prompt, mask prompt, registration."""
    image = "SGTC_ImagePrompt"
    return (
        Entry(row=_SGTC, label="SGTC", paper={"method": "SGTC"}),
        Entry(
            row=Row(name="SGTC-CLIP", trainer=image, need=DatasetNeed(encoder="clip")),
            label="SGTC + image prompt (CLIP, no mask)",
            paper={"method": "SGTC + CLIP Vision Encoder"},
        ),
        Entry(
            row=Row(name="SGTC-AlphaCLIP", trainer=image),
            label="SGTC + image and mask prompt (the dataset's encoder)",
            paper={"method": "SGTC + Alpha-CLIP Vision Encoder"},
        ),
        Entry(row=_RADA, label="RADA: with registration as well", paper={"method": "RADA"}),
    )


def _texts() -> tuple[Entry, ...]:
    """Table VII."""

    def row(prompt: str, trainer: str = "RADA") -> Row:
        return Row(name=f"RADA-text-{prompt}", trainer=trainer, need=DatasetNeed(prompt=prompt))

    modality = "There is a [cls] in this computerized tomography/magnetic resonance imaging."
    containing = "An image containing the [cls], with the rest being background."
    return (
        Entry(row=row("none", "RADA_NoText"), label="none", paper={"text_prompt": "None."}),
        Entry(row=row("photo"), label="A photo of a [CLS].", paper={"text_prompt": "A photo of a [cls]."}),
        Entry(row=row("modality"), label="There is a [CLS] in this MODALITY.", paper={"text_prompt": modality}),
        Entry(
            row=row("containing"),
            label="An image containing the [CLS], with the rest being background",
            paper={"text_prompt": containing},
        ),
    )


STRATEGIES: Mapping[str, tuple[str, ...]] = {
    "SSS": ("SS",),
    "CCC": ("CC",),
    "AAA": ("AA",),
    "ACA": ("AA", "CC", "AC"),
    "ASA": ("AA", "SS", "AS"),
    "CAC": ("AA", "CC", "AC"),
    "CSC": ("CC", "SS", "SC"),
    "SAS": ("SS", "AA", "AS"),
    "SCS": ("SS", "CC", "SC"),
    "SCA": ("AA",),
}
"""Table VIII: slice strategies, and the planes that prompt each."""


def _strategies() -> tuple[Entry, ...]:
    return tuple(
        Entry(
            row=Row(name=f"RADA-{slices}-{planes}", trainer="RADA", need=DatasetNeed(slices=slices, planes=planes)),
            label=f"slices {slices}, prompt planes {planes}",
            paper={"labeled_slices": slices, "image_encoder_slices": planes},
        )
        for slices, prompts in STRATEGIES.items()
        for planes in prompts
    )


BETAS = ("0.05", "0.1", "0.15", "0.2", "0.25", "0.3")
"""Fig. 4: fixed values of beta."""


def _betas() -> tuple[Entry, ...]:
    fixed = [
        Entry(
            row=Row(name=f"RADA-beta-{beta}", trainer=f"RADA_Beta{beta.replace('.', '')}"),
            label=f"beta = {beta}",
            paper={"method": f"RADA, beta = {beta}"},
        )
        for beta in BETAS
    ]
    return (*fixed, Entry(row=_RADA, label="beta rising", paper={"method": "RADA, beta rising"}))


def _planes() -> tuple[Entry, ...]:
    return tuple(
        Entry(
            row=Row(name=f"RADA-planes-{planes}", trainer="RADA", need=DatasetNeed(planes=planes)),
            label=f"prompt planes {planes}",
            paper={"image_encoder_slices": planes},
        )
        for planes in ("AA", "CC", "SS", "AC", "AS", "SC")
    )


def _variants() -> tuple[Entry, ...]:
    """What this package adds to the paper, and the step in the structure of the code that the paper builds on."""
    labels = {
        "EachNoise": "each stochastic pass has noise of its own, and runs the encoder",
        "Separate": "structure of the published code: a batch for each network, BatchNorm of the batch in passes",
        "Fused": "one label with a calibrated confidence for all networks",
        "Refreshed": "confident predictions replace less trusted labels",
        "FiLM": "prompts modulate the bottleneck",
        "NNUNetSGD": "nnU-Net's optimizer",
        "Fused_NNUNetSGD": "one label for all networks, nnU-Net's optimizer",
    }
    changes = [Entry(row=Row(name=name, trainer=f"RADA_{name}"), label=label) for name, label in labels.items()]
    others = {
        "Plans": ("RADA_Plans", "the network that nnU-Net planned, equal seconds"),
        "Supervised_Fused": ("Supervised_Fused", "one V-Net on that one label, nnU-Net's optimizer, equal seconds"),
    }
    equal_seconds = [
        Entry(row=Row(name=name, trainer=trainer, matches_seconds=True), label=label)
        for name, (trainer, label) in others.items()
    ]
    return (Entry(row=_RADA, label="RADA"), *changes, *equal_seconds)


TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table(name="I", title="Methods (Tables I to III)", paper_tables=("I", "II", "III"), entries=_methods()),
        Table(name="IV", title="Modules (Tables IV to VI)", paper_tables=("IV", "V", "VI"), entries=_modules()),
        Table(name="VII", title="Text prompts (Table VII)", paper_tables=("VII",), entries=_texts()),
        Table(
            name="VIII", title="Slices and prompt planes (Table VIII)", paper_tables=("VIII",), entries=_strategies()
        ),
        Table(name="fig4", title="Weight of peer supervision (Fig. 4)", paper_tables=("Fig4",), entries=_betas()),
        Table(name="fig5", title="Prompt planes (Fig. 5)", paper_tables=("Fig5",), entries=_planes()),
        Table(name="variants", title="Variants of RADA, not in the paper", paper_tables=(), entries=_variants()),
    )
}

ALIASES: Mapping[str, str] = {"II": "I", "III": "I", "V": "IV", "VI": "IV"}
"""Tables that hold the same rows as another one, for another dataset of the paper."""

TABLE_NAMES = (*TABLES, *ALIASES, "all")


def select_tables(names: Sequence[str]) -> list[Table]:
    """Return the tables of these names, each once, in the paper's order."""
    wanted = {ALIASES.get(name, name) for name in names}
    return [table for name, table in TABLES.items() if name in wanted or "all" in wanted]


def select_rows(tables: Sequence[Table], methods: Sequence[str] | None) -> list[Row]:
    """Return each row of the tables once; of these names, where there are any.

    Raises:
        UserError: a name is none of theirs.
    """
    rows = {row.name.lower(): row for table in tables for row in table.rows}
    if methods is None:
        return list(rows.values())
    unknown = [name for name in methods if name.lower() not in rows]
    if unknown:
        known = ", ".join(row.name for row in rows.values())
        raise UserError(f"--methods names {', '.join(unknown)}, which the tables do not have; their rows are {known}")
    wanted = {name.lower() for name in methods}
    return [row for name, row in rows.items() if name in wanted]
