"""Settings of a training run. The paper's values are the defaults; `RADA_CONFIG=file.json` overrides single ones."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.json_files import load_json


@dataclass(frozen=True, kw_only=True)
class Config:
    """What defines a run, beyond nnU-Net's plans. Every value is JSON."""

    method: str = "co_training"
    """Name of the training method, a key of `nnunetv2_rada.method.METHODS`."""
    num_iterations: int = 6000
    """Updates in all; every schedule is a fraction of it."""
    iterations_per_epoch: int = 150
    """Updates per nnU-Net epoch; must divide `num_iterations`."""
    val_iterations_per_epoch: int = 8
    """Validation batches per epoch, for the curves only."""
    batch_labelled: int = 2
    """Labelled samples per batch."""
    batch_unlabelled: int = 2
    """Unlabelled samples per batch."""
    backbone: str = "vnet"
    """What each network is built on: the paper's `vnet`, or `plans`, the network that nnU-Net planned."""
    base_filters: int = 16
    """Channels of the V-Net's first stage; each stage doubles them."""
    skip: str = "add"
    """How skips join the decoder: `add` (the code) or `concat` (the paper's appendix)."""
    updates: str = "joint"
    """`joint`: one batch for all networks (Algorithm 1). `sequential`: a batch each, one after the other (the code)."""
    output_bias: str = "shares"
    """Bias of the output at the start: the logarithm of each class's share of annotated voxels, or `random`."""
    stochastic_passes: int = 8
    """Passes T behind the predictive entropy."""
    stochastic_norm: str = "running"
    """BatchNorm in passes without gradient: `running` statistics, or those of the `batch` (the code)."""
    stochastic_noise: str = "shared"
    """Noise on the input of stochastic passes: `shared`, the encoder then runs once, or `each` its own (the code)."""
    guidance: str = "offset"
    """What the prompts do: `offset` shifts each class's logit (the paper), `film` modulates the bottleneck as well."""
    refresh_after: float = 1.0
    """Share of training after which confident predictions replace less trusted propagated labels; 1 is never."""
    augmentation: str = "nnunet"
    """`nnunet`, or `rot90_flip`: quarter turns and flips in the axial plane alone (the code)."""
    max_patch_voxels: int = 112 * 112 * 80
    """Upper bound of the training patch, in voxels."""
    optimizer: str = "paper"
    """SGD of the `paper` (momentum .9, two steps of the rate), or of `nnunet` (Nesterov .99, polynomial rate)."""
    learning_rate: float = 0.01
    """Initial learning rate of SGD."""
    gradient_clip: float | None = 12.0
    """Largest gradient norm per optimizer, nnU-Net's own; null clips nothing."""
    alpha: str | float = "cosine"
    """Decay of the distance weight: the paper's `cosine` schedule or a fixed number."""
    beta_schedule: str | float = "rampup"
    """Weight of peer supervision: `rampup` (SGTC's code), `literal` (the paper's words) or a fixed beta = 2b."""
    pseudo_labels: str = "per_view"
    """Labels off the annotated planes: `per_view`, `fused` or `none`."""
    networks: str | tuple[str, ...] = "all"
    """Views that co-training has a network for: `all`, or their names."""
    planes: str = "all"
    """Annotated planes that each network of co-training sees: `all`, or the `pair` of its own (SGTC)."""
    largest_component: bool = False
    """BCP: keep the largest component of each class in pseudo-labels (the code; wrong where an organ is a pair)."""
    text_prompt: bool = True
    """Use the text embedding E_t."""
    image_prompt: bool = True
    """Use the image embedding E_v."""
    image_embedding: str = "pooled"
    """E_v of labelled samples in training: `pooled` over the fold's labelled cases, or `per_case`."""
    concat_planes: bool = False
    """Set the prompt planes' embeddings beside each other instead of averaging them."""
    inference: str = "ensemble"
    """Predict with the `ensemble` or with one network by its name."""
    mirror_axes: str | tuple[int, ...] = "auto"
    """Preprocessed axes to mirror along, or `auto`: all but those whose direction a class name says."""
    foreground_fraction: float = 1.0
    """Share of labelled samples that are centred on a drawn or propagated foreground voxel."""
    seed: int = 0
    """Seed of initialisation, batches, dropout and noise."""
    checkpoint_minutes: float = 10.0
    """Longest time between two checkpoints, in minutes; each epoch ends with one as well. 0 writes no others."""

    def __post_init__(self) -> None:
        """Check what types cannot say."""
        for name in _AT_LEAST_ONE:
            _check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        _check(
            "num_iterations",
            self.num_iterations,
            self.num_iterations % self.iterations_per_epoch == 0,
            f"a multiple of iterations_per_epoch ({self.iterations_per_epoch})",
        )
        for name, allowed in _CHOICES.items():
            _check(name, getattr(self, name), getattr(self, name) in allowed, _one_of(allowed))
        for name in ("refresh_after", "foreground_fraction"):
            _check(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "from 0 to 1")
        for name in ("checkpoint_minutes", "learning_rate", "seed"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "at least 0")
        clip = self.gradient_clip
        _check("gradient_clip", clip, clip is None or clip > 0, "more than 0, or null")
        axes = self.mirror_axes
        possible = axes == "auto" or all(axis in (0, 1, 2) for axis in axes)
        _check("mirror_axes", axes, possible, "auto or some of 0, 1, 2")
        _check(
            "alpha",
            self.alpha,
            self.alpha == "cosine" or (isinstance(self.alpha, (int, float)) and 0 <= self.alpha <= 1),
            "cosine or a number from 0 to 1",
        )
        _check(
            "beta_schedule",
            self.beta_schedule,
            self.beta_schedule in ("rampup", "literal")
            or (isinstance(self.beta_schedule, (int, float)) and 0 <= self.beta_schedule <= 1),
            "rampup, literal or a number from 0 to 1",
        )

    @classmethod
    def from_json(cls, content: dict[str, Any], *, source: str = "the configuration") -> Config:
        """Build from a dict; unknown keys and wrong types are a `UserError` that lists what is known."""
        return cls().overridden(content, source=source)

    def overridden(self, changes: dict[str, Any], *, source: str) -> Config:
        """Return a copy with `changes` applied.

        Raises:
            UserError: `changes` is not a JSON object, or has an unknown key or a value of the wrong type.
        """
        if not isinstance(changes, dict):
            raise UserError(f"{source} holds {type(changes).__name__}, expected a JSON object of settings")
        defaults = {field.name: getattr(type(self)(), field.name) for field in fields(self)}
        unknown = sorted(set(changes) - set(defaults))
        if unknown:
            raise UserError(
                f"{source} has unknown setting {', '.join(unknown)}; known are {', '.join(sorted(defaults))}"
            )
        for name, value in changes.items():
            _check_type(name, value, defaults[name], source)
        frozen: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()
        }
        return replace(self, **frozen)

    def overridden_by_file(self, path: str | Path) -> Config:
        """Return a copy with the settings of a JSON file applied (`RADA_CONFIG`)."""
        try:
            content = load_json(Path(path))
        except FileNotFoundError:
            raise UserError(
                f"RADA_CONFIG names {path}, which does not exist; give a JSON file or unset RADA_CONFIG"
            ) from None
        except (OSError, ValueError) as error:
            raise UserError(f"RADA_CONFIG file {path} cannot be read as JSON: {error}") from None
        return self.overridden(content, source=f"RADA_CONFIG file {path}")

    def to_json(self) -> dict[str, Any]:
        """Return a dict that `from_json` reads."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


_AT_LEAST_ONE = (
    "num_iterations",
    "iterations_per_epoch",
    "val_iterations_per_epoch",
    "batch_labelled",
    "batch_unlabelled",
    "base_filters",
    "stochastic_passes",
    "max_patch_voxels",
)

# Settings with a fixed set of values; methods, networks and numbers are checked where they are known.
_CHOICES: dict[str, tuple[str, ...]] = {
    "backbone": ("vnet", "plans"),
    "skip": ("add", "concat"),
    "updates": ("joint", "sequential"),
    "output_bias": ("shares", "random"),
    "optimizer": ("paper", "nnunet"),
    "stochastic_noise": ("each", "shared"),
    "guidance": ("offset", "film"),
    "stochastic_norm": ("running", "batch"),
    "augmentation": ("nnunet", "rot90_flip"),
    "image_embedding": ("pooled", "per_case"),
    "pseudo_labels": ("per_view", "fused", "none"),
    "planes": ("all", "pair"),
}

# Settings that take more than one type; every other one has the type of its default.
_TYPES: dict[str, tuple[type, ...]] = {
    "alpha": (str, float, int),
    "beta_schedule": (str, float, int),
    "mirror_axes": (str, list, tuple),
    "networks": (str, list, tuple),
    "gradient_clip": (float, int, type(None)),
}


def _check_type(name: str, value: Any, default: Any, source: str) -> None:
    allowed = _TYPES.get(name, (float, int) if isinstance(default, float) else (type(default),))
    wrong_bool = isinstance(value, bool) and bool not in allowed
    if wrong_bool or not isinstance(value, allowed):
        expected = " or ".join(kind.__name__ for kind in allowed)
        raise UserError(f"{source}: {name} is {value!r}, expected {expected}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{source}: {name} is {value!r}, expected a finite number")


def _one_of(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _check(name: str, value: Any, ok: bool, expected: str) -> None:
    if not ok:
        raise UserError(f"setting {name} is {value!r}, expected {expected}")
