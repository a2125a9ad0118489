"""The embeddings of a run: which ones it needs, and what its networks and samples get of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from nnunetv2_rada.config import Config
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.store import PromptStore
from sparse_annotation_tools.schema import CasesFile, RadaFolder


def load_prompts(config: Config, rada: RadaFolder, cases: CasesFile) -> PromptStore | None:
    """Return the stored embeddings, or None where the run uses no prompt.

    Raises:
        UserError: the run needs embeddings that were not made.
    """
    if not (config.text_prompt or config.image_prompt):
        return None
    if not rada.prompts_file.is_file():
        dataset_id = cases.dataset.removeprefix("Dataset").split("_")[0]
        raise UserError(
            f"{rada.prompts_file} not found, but this trainer needs embeddings of the annotated slices; "
            f"run rada-embed -d {dataset_id} --encoder alpha-clip-tiny"
        )
    return PromptStore.load(rada.prompts_file, classes=sorted(cases.classes, key=cases.classes.__getitem__))


def pooled_embeddings(
    prompts: PromptStore, config: Config, labelled: Sequence[str], write_line: Callable[[str], None]
) -> tuple[Tensor | None, Tensor | None]:
    """Return E_t [K, Dt], and E_v [K, Dv] pooled over the labelled training cases of the fold.

    Args:
        prompts: the stored embeddings.
        config: says which prompts are used; the others are None.
        labelled: labelled training cases of the fold.
        write_line: takes a line on every class that some of them do not show.
    """
    text = torch.from_numpy(prompts.text_kt) if config.text_prompt else None
    if not config.image_prompt:
        return text, None
    for line in prompts.absences(labelled):
        write_line(line)
    return text, torch.from_numpy(prompts.pooled_image_embedding(labelled, concat=config.concat_planes))


def own_embeddings(
    prompts: PromptStore | None, config: Config, labelled: Sequence[str], cases: Sequence[str]
) -> Tensor | None:
    """Return the samples' own E_v [B, K, Dv] where `image_embedding` is `per_case`, else None.

    Rows of cases outside `labelled` are NaN: they take the pooled embedding.
    """
    if prompts is None or not config.image_prompt or config.image_embedding == "pooled":
        return None
    pooled = prompts.pooled_image_embedding(sorted(labelled), concat=config.concat_planes)
    rows = [
        prompts.case_image_embedding(case, fallback=pooled, concat=config.concat_planes)
        if case in labelled
        else np.full_like(pooled, np.nan)
        for case in cases
    ]
    return torch.from_numpy(np.stack(rows))
