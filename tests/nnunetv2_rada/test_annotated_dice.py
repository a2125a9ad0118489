"""Dice on annotated voxels, by network."""

import numpy as np
import torch

from nnunetv2_rada.annotated_dice import annotated_counts, collapsed, count_all, mean_dice, take_branches


def test_dice_counts_annotated_voxels_only():
    """Voxels that nobody annotated count nowhere; classes neither drawn nor predicted are left out of the mean."""
    annotation = torch.tensor([[[[0, 1, 1, -1, -1]]]])
    label = torch.tensor([[[[1, 1, 0, 1, 2]]]])
    counts = annotated_counts(label, annotation, [1, 2])
    assert counts.tolist() == [[1, 0], [1, 0], [1, 0]]
    assert mean_dice(counts) == 0.5
    assert np.isnan(mean_dice(np.zeros((3, 2), dtype=int)))


def test_networks_are_summed_over_an_epoch_and_leave_what_nnunet_expects():
    """Their counts are taken out of the outputs; the ensemble's stay under nnU-Net's keys."""
    annotation, label = torch.tensor([[[[1, 0]]]]), torch.tensor([[[[1, 1]]]])
    outputs = [count_all(label, {"axial": label, "coronal": 0 * label}, annotation, [1]) for _ in range(2)]
    counts = take_branches(outputs)
    assert counts["axial"].tolist() == [[2], [2], [0]]
    assert counts["coronal"].tolist() == [[0], [0], [2]]
    assert all(set(output) == {"tp_hard", "fp_hard", "fn_hard"} for output in outputs)


def test_a_network_that_fell_silent_is_named_if_its_peers_still_speak():
    """One class lost, all lost, lost by all (nobody collapsed alone), and a class that was not drawn."""
    good, lost = [5, 1, 1], [0, 0, 6]

    def counts(*classes):
        return np.array(classes).T

    both = {"sagittal": counts(good, good), "coronal": counts(good, lost), "axial": counts(lost, lost)}
    coronal, axial = collapsed(both, ["atrium", "ventricle"])
    assert "network coronal predicted no ventricle" in coronal
    assert "network axial predicted no foreground" in axial
    assert collapsed({"a": counts(lost), "b": counts(lost)}, ["atrium"]) == []
    assert collapsed({"a": counts([0, 0, 0]), "b": counts([0, 9, 0])}, ["atrium"]) == []
