"""Which cases the two loaders of a fold draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nnunetv2_rada.config import Config
from nnunetv2_rada.data.loader import Stream
from nnunetv2_rada.data.randomness import TRAINING_BATCH, VALIDATION_BATCH
from nnunetv2_rada.method.base import Method
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.schema import VIEWS, CasesFile


def fold_streams(
    cases: CasesFile,
    training: Sequence[str],
    validation: Sequence[str],
    *,
    config: Config,
    method: Method,
    rank: int,
    write_line: Callable[[str], None],
) -> tuple[Stream, Stream]:
    """Return what the training and the validation loader draw.

    Args:
        cases: the content of `cases.json`.
        training: training cases of the fold, labelled and unlabelled.
        validation: its labelled validation cases.
        config: settings of the run.
        method: says which label channels it learns from, whether from unlabelled scans, and how many batches one step
            takes.
        rank: of this process; each rank of a distributed run draws a whole batch of its own.
        write_line: takes warnings.

    Raises:
        UserError: no training case is labelled.
    """
    labelled = [case for case in training if cases.cases[case].labelled]
    unlabelled = [case for case in training if not cases.cases[case].labelled]
    if not labelled:
        raise UserError("the fold has no labelled training case; annotate slices of at least one scan")
    if not unlabelled and method.uses_unlabelled:
        write_line("WARNING: no unlabelled scans; the labelled ones serve as the unlabelled stream too")
    if len(labelled) == 1 and list(validation) == labelled:
        write_line("WARNING: one labelled scan, which validates itself; validation Dice means little")

    def stream(drawn: Sequence[str], others: Sequence[str], number: int, batches: int) -> Stream:
        return Stream(
            labelled=list(drawn),
            unlabelled=list(others),
            batch_labelled=batches * config.batch_labelled,
            batch_unlabelled=batches * config.batch_unlabelled if others else 0,
            views=[VIEWS.index(view) for view in method.views],
            fused=config.pseudo_labels == "fused",
            foreground_fraction=config.foreground_fraction,
            seed=config.seed,
            stream=number,
            rank=rank,
        )

    others = (unlabelled or labelled) if method.uses_unlabelled else []
    return (
        stream(labelled, others, TRAINING_BATCH, method.batches_per_step),
        stream(validation, [], VALIDATION_BATCH, 1),
    )
