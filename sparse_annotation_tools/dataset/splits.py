"""Folds over the labelled cases, in the format of nnU-Net's `splits_final.json`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FOLDS = 5


def make_splits(labelled: Sequence[str], unlabelled: Sequence[str], seed: int) -> list[dict[str, list[str]]]:
    """Return min(5, n) folds over n labelled cases; every training list holds all unlabelled cases.

    One labelled case alone validates on itself.

    >>> make_splits(["a"], ["u"], seed=0)
    [{'train': ['a', 'u'], 'val': ['a']}]
    """
    count = min(FOLDS, len(labelled))
    order = np.random.default_rng(seed).permutation(len(labelled))
    splits = []
    for fold in range(count):
        held_out = sorted(labelled[position] for position in order[fold::count])
        train = [case for case in labelled if case not in held_out or count == 1]
        splits.append({"train": sorted([*train, *unlabelled]), "val": held_out})
    return splits
