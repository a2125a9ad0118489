"""Every trainer by name. A variant is a row of settings; the class is made from it."""

from __future__ import annotations

from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_rada.stock import nnUNetTrainerStock
from nnunetv2_rada.trainer import nnUNetTrainerRADA

# Where the paper is silent, both presets do as the code that it builds on.
_SILENT = {
    "stochastic_norm": "batch",
    "stochastic_noise": "each",
    "augmentation": "rot90_flip",
    "gradient_clip": None,
    "output_bias": "random",
    "foreground_fraction": 0.0,
}

# The compared methods know annotated planes and nothing of prompts.
_SPARSE = {"text_prompt": False, "image_prompt": False, "pseudo_labels": "none"}

_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "nnUNetTrainerRADA_Paper": (
        "RADA by the paper's words, also where the code that it builds on does otherwise.",
        {
            "skip": "concat",
            "beta_schedule": "literal",
            "updates": "joint",
            "inference": "ensemble",
            "image_embedding": "per_case",
            **_SILENT,
        },
    ),
    "nnUNetTrainerRADA_PublishedCode": (
        "RADA in the structure of the code that the paper builds on: three batches, one network after the other.",
        {"skip": "add", "beta_schedule": "rampup", "updates": "sequential", "inference": "coronal", **_SILENT},
    ),
    "nnUNetTrainerRADA_Plans": (
        "RADA with the network that nnU-Net planned in each of the three branches (beyond the paper).",
        {"backbone": "plans"},
    ),
    "nnUNetTrainerRADA_Fused": (
        "RADA with one label for all views, voted from all annotated slices (beyond the paper).",
        {"pseudo_labels": "fused"},
    ),
    "nnUNetTrainerRADA_FiLM": (
        "RADA with prompts that also scale and shift the bottleneck (beyond the paper).",
        {"guidance": "film"},
    ),
    "nnUNetTrainerRADA_Refreshed": (
        "RADA whose propagated labels give way to the networks' own confident predictions (beyond the paper).",
        {"refresh_after": 0.3},
    ),
    "nnUNetTrainerRADA_EachNoise": (
        "RADA whose stochastic passes each have noise of their own on their input, so that the encoder runs for each.",
        {"stochastic_noise": "each"},
    ),
    "nnUNetTrainerRADA_Separate": (
        "RADA whose step has the structure of the published code, and nothing else of it.",
        {"updates": "sequential", "stochastic_norm": "batch", "stochastic_noise": "each"},
    ),
    "nnUNetTrainerRADA_NNUNetSGD": (
        "RADA with nnU-Net's optimizer: Nesterov's momentum of .99 and a polynomial rate (beyond the paper).",
        {"optimizer": "nnunet"},
    ),
    "nnUNetTrainerRADA_Fused_NNUNetSGD": (
        "RADA with one label for all views and nnU-Net's optimizer (beyond the paper).",
        {"pseudo_labels": "fused", "optimizer": "nnunet"},
    ),
    "nnUNetTrainerSGTC": (
        "SGTC: three networks with the text prompt, each of which sees two of three annotated planes; no registration.",
        {"image_prompt": False, "pseudo_labels": "none", "planes": "pair"},
    ),
    "nnUNetTrainerSGTC_ImagePrompt": (
        "SGTC with the image prompt as well, of whatever encoder the dataset has (Tables IV to VI).",
        {"pseudo_labels": "none", "planes": "pair"},
    ),
    "nnUNetTrainerRADA_NoText": (
        "RADA without the text prompt (Table VII).",
        {"text_prompt": False},
    ),
    "nnUNetTrainerDeSCO": (
        "DeSCO: two plain networks, axial and coronal, with labels registered from their own slices.",
        {"method": "desco", "networks": ["axial", "coronal"], "text_prompt": False, "image_prompt": False},
    ),
    "nnUNetTrainerDeSCO_AxialSagittal": (
        "DeSCO on the two slices that the paper gave it.",
        {"method": "desco", "networks": ["axial", "sagittal"], "text_prompt": False, "image_prompt": False},
    ),
    "nnUNetTrainerSupervised": (
        "One V-Net that learns from annotated planes alone: the floor of a comparison.",
        {"method": "supervised", **_SPARSE},
    ),
    "nnUNetTrainerSupervised_Fused": (
        "One V-Net that learns the label fused from all annotated slices, with nnU-Net's optimizer (beyond the paper).",
        {"method": "supervised", **_SPARSE, "pseudo_labels": "fused", "optimizer": "nnunet"},
    ),
    "nnUNetTrainerMT": (
        "Mean Teacher on annotated planes.",
        {"method": "mt", **_SPARSE},
    ),
    "nnUNetTrainerUAMT": (
        "Uncertainty-aware Mean Teacher on annotated planes.",
        {"method": "ua_mt", **_SPARSE},
    ),
    "nnUNetTrainerCPS": (
        "Cross pseudo supervision on annotated planes; predicts with its first network, as published.",
        {"method": "cps", "inference": "a", **_SPARSE},
    ),
    "nnUNetTrainerDTC": (
        "Dual-task consistency on annotated planes.",
        {"method": "dtc", **_SPARSE},
    ),
    "nnUNetTrainerSASSNet": (
        "SASSNet on annotated planes.",
        {"method": "sassnet", **_SPARSE},
    ),
    "nnUNetTrainerBCP": (
        "Bidirectional copy-paste on annotated planes.",
        {"method": "bcp", **_SPARSE},
    ),
    **{
        f"nnUNetTrainerRADA_Beta{str(beta).replace('.', '')}": (
            f"RADA with beta fixed at {beta} (Fig. 4).",
            {"beta_schedule": beta},
        )
        for beta in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
    },
}


def _variant(name: str, doc: str, settings: dict[str, Any]) -> type[nnUNetTrainerRADA]:
    return type(name, (nnUNetTrainerRADA,), {"__doc__": doc, "__module__": __name__, "settings": settings})


TRAINERS: dict[str, type[nnUNetTrainer]] = {
    nnUNetTrainerRADA.__name__: nnUNetTrainerRADA,
    nnUNetTrainerStock.__name__: nnUNetTrainerStock,
    **{name: _variant(name, doc, settings) for name, (doc, settings) in _VARIANTS.items()},
}
globals().update(TRAINERS)  # so that each class can be found, and pickled, by its name
