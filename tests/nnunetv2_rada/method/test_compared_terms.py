"""The compared methods' own terms against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import make_method
from nnunetv2_rada.method.base import UNKNOWN, Batch, Method
from nnunetv2_rada.method.co_training import in_own_pair, supervision
from nnunetv2_rada.method.copy_paste import cuboid, first_stage, largest_components, paste
from nnunetv2_rada.method.dual_task import probability_of
from nnunetv2_rada.method.losses import supervised_loss
from nnunetv2_rada.method.mean_teacher import masked_mean
from nnunetv2_rada.method.shape_adversarial import Discriminator
from nnunetv2_rada.method.signed_distance import plane_distances, signed_distance
from nnunetv2_rada.method.teacher import follow, make_teacher, warm_decay
from sparse_annotation_tools.errors import UserError

VIEWS = ("sagittal", "coronal", "axial")


def make(method: str, **settings: object) -> Method:
    """A small method without prompts, on annotated planes."""
    torch.manual_seed(0)
    sparse = {"text_prompt": False, "image_prompt": False, "pseudo_labels": "none", "num_iterations": 150}
    config = Config(**{"method": method, "base_filters": 4, "stochastic_passes": 2, **sparse, **settings})
    return make_method(config, in_channels=1, num_classes=2, text_dim=0, image_dim=0, views=VIEWS)


def answer(network: nn.Module, logits: Sequence[float]) -> None:
    """Let a network say the same everywhere."""
    nn.init.zeros_(network.output.weight)
    with torch.no_grad():
        network.output.bias.copy_(torch.tensor(logits))


def only_loss(method: Method, batch: Batch, iteration: int = 75) -> Tensor:
    """The first loss of a step that is not finished."""
    torch.manual_seed(3)
    return next(iter(method.step(batch, iteration)))[1]


# ---- teachers -------------------------------------------------------------------------------------------------------


def test_a_teacher_is_a_moving_average_of_parameters_alone() -> None:
    """.99 * 1 + .01 * 3 = 1.02; statistics of BatchNorm are its own; no gradient."""
    student = nn.BatchNorm3d(1)
    teacher = make_teacher(student)
    with torch.no_grad():
        student.weight.fill_(3)
    student.running_mean.fill_(7)
    follow(teacher, student, 0.99)
    assert float(teacher.weight) == pytest.approx(1.02)
    assert float(teacher.running_mean) == 0
    assert float(student.weight.detach()) == 3
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_the_teacher_follows_slower_and_slower() -> None:
    """1 - 1/(t+1): all of the student first, then half, two thirds of itself, .99 at most."""
    assert [warm_decay(t) for t in (0, 1, 2)] == pytest.approx([0, 1 / 2, 2 / 3])
    assert warm_decay(98) < 0.99 == warm_decay(99) == warm_decay(5999)


def test_consistency_is_the_mean_over_voxels_and_outputs(make_batch) -> None:
    """A student of (1/2, 1/2) against a teacher of (0, 1): 1/4, weighted by b(t)."""
    method = make("mt", beta_schedule=0.2)  # b = .1
    answer(method.networks["student"], (0, 0))
    answer(method.teacher, (-50, 50))
    loss = only_loss(method, make_batch())
    assert float(method.scalars["consistency"]) == pytest.approx(0.25)
    assert float(loss) == pytest.approx(float(method.scalars["sup"]) + 0.1 * 0.25)


def test_the_teacher_of_mean_teacher_follows_after_the_update(make_batch) -> None:
    """At iteration 0 it becomes the updated student; prediction knows nothing of it."""
    method = make("mt")
    (optimizer,) = method.optimizers().values()
    for _, loss in method.step(make_batch(), 0):
        before = method.teacher.output.weight.clone()
        loss.backward()
        optimizer.step()
        assert torch.equal(method.teacher.output.weight, before)
    assert torch.equal(method.teacher.output.weight, method.networks["student"].output.weight)
    assert not any(name.startswith("teacher") for name in method.networks.state_dict())


@pytest.mark.parametrize(("teacher", "trusted", "consistency"), [((-50, 50), 1, 0.25), ((0, 0), 0, 0)])
def test_a_doubtful_teacher_teaches_nothing(make_batch, teacher, trusted, consistency) -> None:
    """UA-MT: an entropy of ln 2 is above every H(t) before the end, one of 0 below."""
    method = make("ua_mt")
    answer(method.networks["student"], (0, 0))
    answer(method.teacher, teacher)
    only_loss(method, make_batch())
    assert float(method.scalars["trusted"]) == trusted
    assert float(method.scalars["consistency"]) == pytest.approx(consistency)


def test_the_mean_is_over_trusted_voxels() -> None:
    """Two voxels of two outputs: (1 + 3) / 2 over the first alone; 0 where none is trusted."""
    values = torch.tensor([[[[[1.0, 8.0]]], [[[3.0, 8.0]]]]])  # [1, 2, 1, 1, 2]
    assert float(masked_mean(values, torch.tensor([[[[True, False]]]]))) == 2
    assert float(masked_mean(values, torch.zeros(1, 1, 1, 2, dtype=torch.bool))) == 0


# ---- CPS, DeSCO, SGTC -----------------------------------------------------------------------------------------------


def test_each_network_of_cps_learns_the_others_argmax(make_batch) -> None:
    """a says class 1 with odds e, b class 0 with odds e^20: CE(a, 0) = ln(1 + e), CE(b, 1) = 20."""
    method = make("cps", beta_schedule=1.0)  # b = .5
    answer(method.networks["a"], (0, 1))
    answer(method.networks["b"], (20, 0))
    crossed = math.log1p(math.e) + 20
    loss = only_loss(method, make_batch())
    assert float(method.scalars["peer"]) == pytest.approx(crossed)
    assert float(loss) == pytest.approx(float(method.scalars["sup"]) + 0.5 * crossed)


def test_cps_predicts_with_one_network_or_both(make_batch) -> None:
    """`inference` names it."""
    image = make_batch().image
    for inference, expected in (("a", (0.0, 3.0)), ("ensemble", (math.log(0.5), math.log(0.5)))):
        method = make("cps", inference=inference).eval()
        answer(method.networks["a"], (0, 3))
        answer(method.networks["b"], (3, 0))
        assert method.predict(image)[0, :, 0, 0, 0].tolist() == pytest.approx(expected)


def test_desco_weighs_its_one_peer_by_b(make_batch) -> None:
    """L = (1 - b) L_sup + b CE, from the recorded parts; labels off the planes count by distance."""
    method = make("desco", networks=("axial", "coronal"), pseudo_labels="per_view", beta_schedule=0.5)
    batch = make_batch()
    for view, loss in method.step(batch, 75):
        expected = 0.75 * method.scalars[f"sup/{view}"] + 0.25 * method.scalars[f"peer/{view}"]
        torch.testing.assert_close(loss.detach(), expected)
    before = float(method.scalars["sup/axial"])
    next(iter(method.step(replace(batch, label=1 - batch.label), 75)))
    assert float(method.scalars["sup/axial"]) != before


def test_desco_has_two_networks() -> None:
    """Three are refused, and so is a view that does not exist."""
    with pytest.raises(UserError, match="set networks to two views"):
        make("desco", pseudo_labels="per_view")
    with pytest.raises(UserError, match="expected all or a list of some of sagittal, coronal, axial"):
        make("desco", networks=("axial", "oblique"))


def test_each_network_of_sgtc_sees_its_own_pair_of_planes(make_batch) -> None:
    """Sagittal leaves out axial, coronal coronal, axial sagittal; a voxel on two planes is seen for either."""
    batch = make_batch()
    for v, (seen, left_out) in enumerate([((0, 1), 2), ((2, 0), 1), ((2, 1), 0)]):
        _, weight = supervision(batch, v, alpha=0.9, pseudo_labels="none", planes="pair")
        for view in seen:
            assert (weight[batch.plane[:, view] > 0] == 1).all()
        others = torch.stack([batch.plane[:, view] == 0 for view in seen]).all(dim=0)
        assert (weight[others] == 0).all()
        assert (weight[(batch.plane[:, left_out] > 0) & others] == 0).all()
        assert torch.equal(weight > 0, in_own_pair(batch, v))


def test_what_a_network_of_sgtc_does_not_see_changes_nothing_for_it(make_batch) -> None:
    """Another drawing on the axial plane reaches the coronal and axial networks alone."""
    batch = make_batch()
    only_axial = (batch.plane[:, 2] > 0) & (batch.plane[:, :2] == 0).all(dim=1)
    changed = replace(batch, annotation=torch.where(only_axial, 1 - batch.annotation, batch.annotation))
    found = []
    for drawn in (batch, changed):
        method = make("co_training", planes="pair")
        torch.manual_seed(3)
        list(method.step(drawn, 75))
        found.append([float(method.scalars[f"sup/{view}"]) for view in VIEWS])
    assert [a == b for a, b in zip(*found, strict=True)] == [True, False, False]


def test_a_pair_of_planes_excludes_registered_labels() -> None:
    """They hold every plane."""
    with pytest.raises(UserError, match="set pseudo_labels to none or planes to all"):
        make("co_training", planes="pair", pseudo_labels="per_view")


# ---- signed distance, DTC, SASSNet ----------------------------------------------------------------------------------


def square_in_plane() -> tuple[np.ndarray, np.ndarray]:
    """A plane of 7 x 7 voxels with a 3 x 3 object in its middle."""
    points = np.stack(np.meshgrid(np.arange(7), np.arange(7), indexing="ij"), -1).reshape(-1, 2)
    return points, ((points >= 2) & (points <= 4)).all(axis=1)


def test_the_signed_distance_of_a_square_is_known() -> None:
    """-1 at the centre, 0 on the inner boundary, sqrt 8 of sqrt 8 at a corner, 2 of it at the middle of a side."""
    points, inside = square_in_plane()
    distance = signed_distance(points, inside).reshape(7, 7)
    assert distance[3, 3] == -1
    assert distance[2:5, 2:5].sum() == -1
    assert distance[0, 0] == distance[6, 6] == 1
    assert distance[0, 3] == pytest.approx(2 / math.sqrt(8))
    assert distance[1, 2] == pytest.approx(1 / math.sqrt(8))


def test_the_distance_is_that_of_the_plane_however_it_lies() -> None:
    """Permuted, or tilted into a third axis by whole voxels, nothing changes but the diagonal's length."""
    points, inside = square_in_plane()
    flat = signed_distance(points, inside)
    tilted = np.stack([points[:, 0], np.full(len(points), 5), points[:, 1]], axis=1)
    assert np.array_equal(signed_distance(tilted, inside), flat)


def test_every_plane_is_measured_by_itself(make_batch) -> None:
    """The target is there on annotated planes only, and one plane's drawing does not move another's distances."""
    batch = make_batch()
    target, known = plane_distances(batch, 2)
    assert target.shape == known.shape == (2, 1, 16, 16, 16)
    assert torch.equal(known[:, 0], batch.annotation >= 0)
    assert target.min() >= -1
    assert target.max() == 1
    assert (target[:, 0][batch.annotation == 1] <= 0).all()
    assert (target[:, 0][batch.annotation == 0] > 0).all()
    only_axial = (batch.plane[:, 2] > 0) & (batch.plane[:, :2] == 0).all(dim=1)
    drawn = torch.where(only_axial, 0, batch.annotation)
    changed, _ = plane_distances(replace(batch, annotation=drawn), 2)
    elsewhere = ~(batch.plane[:, 2] > 0)
    assert torch.equal(changed[:, 0][elsewhere], target[:, 0][elsewhere])


def test_a_plane_without_a_boundary_gives_no_target(make_batch) -> None:
    """Class 2 is not drawn; of class 1 the sagittal plane shows nothing, or nothing else."""
    batch = make_batch()
    only_sagittal = (batch.plane[:, 0] > 0) & (batch.plane[:, 1:] == 0).all(dim=1)
    for value in (0, 1):
        drawn = batch.annotation.masked_fill(batch.plane[:, 0] > 0, value)
        _, known = plane_distances(replace(batch, annotation=drawn), 3)
        assert not known[:, 1].any()
        assert not known[:, 0][only_sagittal].any()
        assert known[:, 0].any()


def test_dtc_compares_its_two_heads_everywhere(make_batch) -> None:
    """A distance of 0 means 1/2; with (1/4, 3/4) from the other head the mean square is 1/16, at the end times 1."""
    assert probability_of(torch.tensor([-1.0, 0.0, 1.0])).tolist() == pytest.approx([1, 0.5, 0])
    method = make("dtc")
    student = method.networks["student"]
    answer(student, (0, math.log(3)))
    nn.init.zeros_(student.distance.weight)
    nn.init.zeros_(student.distance.bias)
    batch = make_batch()
    loss = only_loss(method, batch, iteration=150)
    assert float(method.scalars["consistency"]) == pytest.approx(1 / 16)
    target, known = plane_distances(batch, 2)
    error = float(target[known].square().mean())
    assert float(method.scalars["distance"]) == pytest.approx(error)
    assert float(loss) == pytest.approx(float(method.scalars["sup"]) + 0.3 * error + 1 / 16)


def test_the_discriminator_is_the_published_one() -> None:
    """4-2-1 convolutions of 64 (two, added), 128, 256, 512 channels, two outputs."""
    network = Discriminator(num_maps=1, in_channels=1)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv3d)]
    assert [c.out_channels for c in convolutions] == [64, 64, 128, 256, 512]
    assert all((c.kernel_size, c.stride, c.padding) == ((4,) * 3, (2,) * 3, (1,) * 3) for c in convolutions)
    small = Discriminator(num_maps=2, in_channels=3, width=4)
    assert small(torch.zeros(5, 2, 16, 32, 16), torch.zeros(5, 3, 16, 32, 16)).shape == (5, 2)


def test_network_and_discriminator_want_the_opposite(make_batch) -> None:
    """D says labelled with odds e^2: ln(1 + e^-2) for the network; for D the mean of that and of the opposite."""
    method = make("sassnet")
    with torch.no_grad():
        method.discriminator.output.weight.zero_()
        method.discriminator.output.bias.copy_(torch.tensor([0.0, 2.0]))
    (name, loss), (discriminator, own) = list(method.step(make_batch(), 150))
    right, wrong = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    scalars = {key: float(value) for key, value in method.scalars.items()}
    assert (name, discriminator) == ("sassnet", "discriminator")
    assert scalars["adversarial"] == pytest.approx(right)
    assert float(loss) == pytest.approx(scalars["sup"] + 0.3 * scalars["distance"] + 0.015 * right)
    assert float(own) == pytest.approx((right + wrong) / 2)


def test_the_discriminator_learns_without_touching_the_network(make_batch) -> None:
    """Its loss reaches its own parameters alone."""
    method = make("sassnet")
    losses = method.step(make_batch(), 75)
    next(losses)
    method.zero_grad()
    next(losses)[1].backward()
    assert all(parameter.grad is not None for parameter in method.discriminator.parameters())
    assert all(parameter.grad is None for parameter in method.networks.parameters())


# ---- BCP ------------------------------------------------------------------------------------------------------------


def test_the_cuboid_is_two_thirds_of_each_side_and_moves() -> None:
    """10 of 16, 21 of 32; whole, and not always at the same place."""
    masks = [cuboid((16, 32, 16), torch.device("cpu")) for _ in range(8)]
    for mask in masks:
        sides = [int(mask.any(dim=other).any(dim=0 if axis else 1).sum()) for axis, other in ((0, 2), (1, 2))]
        assert sides == [10, 21]
        assert int(mask.sum()) == 10 * 21 * 10
    assert len({int(mask.flatten().int().argmax()) for mask in masks}) > 1


def test_pasting_takes_the_inside_from_one_and_the_rest_from_the_other() -> None:
    """And back again it is the original."""
    a, b, mask = torch.rand(2, 1, 4, 4, 4), torch.rand(2, 1, 4, 4, 4), cuboid((4, 4, 4), torch.device("cpu"))
    mixed = paste(a, b, mask)
    assert torch.equal(mixed[..., mask], a[..., mask])
    assert torch.equal(mixed[..., ~mask], b[..., ~mask])
    assert torch.equal(paste(mixed, a, mask), a)


def test_both_ways_of_mixing_count_labels_fully_and_pseudo_labels_half(make_batch) -> None:
    """With constant networks the sum over both ways is that of the parts, written out."""
    method, batch = make("bcp"), make_batch()
    answer(method.networks["student"], (0, 1))
    answer(method.teacher, (-5, 5))
    loss = only_loss(method, batch)
    torch.manual_seed(3)
    mask = cuboid((16, 16, 16), torch.device("cpu"))
    logits = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 2, 16, 16, 16)
    annotated = (batch.annotation >= 0).float()
    expected = torch.zeros(())
    for labelled in (mask, ~mask):
        expected = expected + supervised_loss(logits, batch.annotation, annotated * labelled)
        ones = torch.ones(2, 16, 16, 16, dtype=torch.int16)
        expected = expected + 0.5 * supervised_loss(logits, ones, (~labelled).expand(2, -1, -1, -1).float())
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_the_first_stage_looks_at_labelled_samples_alone(make_batch) -> None:
    """Here 75 of 150 iterations; then the teacher starts as the student."""
    batch = make_batch()
    blank = replace(batch, image=torch.cat([batch.image_labelled, torch.zeros_like(batch.image_unlabelled)]))
    for iteration, unlabelled_matter in ((0, False), (74, False), (75, True)):
        found = [float(only_loss(make("bcp"), given, iteration)) for given in (batch, blank)]
        assert (found[0] != found[1]) == unlabelled_matter
    method = make("bcp")
    with torch.no_grad():
        method.networks["student"].output.bias.fill_(3)
    only_loss(method, batch, 74)
    assert not torch.equal(method.teacher.output.bias, method.networks["student"].output.bias)
    only_loss(method, batch, 75)
    assert torch.equal(method.teacher.output.bias, method.networks["student"].output.bias)


def test_the_first_stage_has_its_share_but_enough_to_make_a_teacher() -> None:
    """700 of 6000 iterations as published; in short trainings 140, or half of them."""
    assert [first_stage(number) for number in (6000, 1200, 350, 10, 1)] == [700, 140, 140, 5, 1]


def test_both_stages_record_the_same_scalars(make_batch) -> None:
    """An epoch may hold the end of one and the start of the other."""
    methods = [make("bcp"), make("bcp")]
    for method, iteration in zip(methods, (0, 140), strict=True):
        only_loss(method, make_batch(), iteration)
    assert set(methods[0].scalars) == set(methods[1].scalars)


def test_the_largest_component_of_each_class_stays() -> None:
    """Three voxels of class 1 stay and one goes; class 2 has one component."""
    label = torch.zeros(1, 6, 6, 6, dtype=torch.long)
    label[0, 0, 0, :3] = 1
    label[0, 4, 4, 4] = 1
    label[0, 2, 2, 2] = 2
    kept = largest_components(label, 3)
    assert int((kept == 1).sum()) == 3
    assert kept[0, 4, 4, 4] == 0
    assert kept[0, 2, 2, 2] == 2


def test_the_largest_component_is_an_option(make_batch) -> None:
    """It changes pseudo-labels, and unequal streams are refused."""
    method = make("bcp", largest_component=True)
    assert torch.isfinite(only_loss(method, make_batch()))
    with pytest.raises(UserError, match="set both to the same number"):
        make("bcp", batch_unlabelled=4)


def test_a_sample_without_any_annotation_gives_finite_losses(make_batch) -> None:
    """A patch may miss every plane."""
    batch = make_batch()
    nothing = replace(batch, annotation=torch.full_like(batch.annotation, UNKNOWN), plane=torch.zeros_like(batch.plane))
    for name in ("supervised", "mt", "cps", "dtc", "sassnet", "bcp"):
        assert all(torch.isfinite(loss) for _, loss in make(name).step(nothing, 75))
