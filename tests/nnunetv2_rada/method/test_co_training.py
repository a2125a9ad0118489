"""Co-training of three guided networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nnunetv2_rada.method import schedules
from nnunetv2_rada.method.base import UNKNOWN, Backbone, Batch
from nnunetv2_rada.method.co_training import CoTraining, supervision
from sparse_annotation_tools.errors import UserError


def _losses(method: CoTraining, batch: Batch, iteration: int = 75, seed: int = 7) -> dict[str, Tensor]:
    """The losses of one step without updates."""
    torch.manual_seed(seed)
    return {name: loss.detach() for name, loss in method.step(batch, iteration)}


def _train(method: CoTraining, batch: Batch, iterations: int) -> None:
    optimizers = method.optimizers()
    for iteration in range(iterations):
        for name, loss in method.step(batch, iteration):
            optimizers[name].zero_grad()
            loss.backward()
            optimizers[name].step()


def test_every_network_is_updated_once_by_its_own_loss(make_small, make_batch) -> None:
    """One step yields each view, every trainable parameter of that network gets a finite gradient and no other's."""
    method, batch = make_small(), make_batch()
    names = []
    for name, loss in method.step(batch, 0):
        method.zero_grad()
        loss.backward()
        names.append(name)
        for view, network in method.networks.items():
            for parameter_name, parameter in network.named_parameters():
                if view == name:
                    assert parameter.grad is not None, parameter_name
                    assert torch.isfinite(parameter.grad).all(), parameter_name
                else:
                    assert parameter.grad is None, parameter_name
    assert tuple(names) == method.views == tuple(method.optimizers())


def test_optimizers_hold_exactly_their_networks(make_small) -> None:
    """No parameter is shared or forgotten; momentum, decay and rate are the paper's."""
    method = make_small()
    for view, optimizer in method.optimizers().items():
        (group,) = optimizer.param_groups
        assert {id(p) for p in group["params"]} == {id(p) for p in method.networks[view].parameters()}
        assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.01, 0.9, 1e-4)
    assert method.learning_rate(149) == dict.fromkeys(method.views, pytest.approx(1e-4))


def test_networks_start_different(make_small) -> None:
    """Equal networks would have nothing to teach each other."""
    a, b, c = (network.head.weight for network in make_small().networks.values())
    assert not torch.equal(a, b)
    assert not torch.equal(b, c)


def test_the_loss_is_that_of_eq_11(make_small, make_batch) -> None:
    """(1 - 2b) L_sup + b (L_peer1 + L_peer2), with the scheduled b, from the recorded parts."""
    method = make_small(beta_schedule=0.5)
    losses = _losses(method, make_batch())
    scalars = method.scalars
    for view in method.views:
        expected = 0.5 * scalars[f"sup/{view}"] + 0.25 * scalars[f"peer/{view}"]
        torch.testing.assert_close(losses[view], expected)
        torch.testing.assert_close(scalars[f"loss/{view}"], losses[view])
    assert float(scalars["beta"]) == 0.5
    assert float(scalars["alpha"]) == pytest.approx(schedules.distance_decay(75, 150))
    assert 0 <= float(scalars["trusted"]) <= 1


def test_peers_teach_on_unlabelled_samples_only(make_small, make_batch) -> None:
    """Without unlabelled influence on BatchNorm, a network learns its peers' confident argmax."""
    method = make_small(beta_schedule=1.0)  # 1 - 2b = 0: the loss is the peers' alone
    for network in method.networks.values():
        nn.init.zeros_(network.output.weight)
        nn.init.zeros_(network.output.bias)
    with torch.no_grad():
        for view, bias in (("sagittal", 0.0), ("coronal", 9.0), ("axial", 9.0)):
            method.networks[view].output.bias[1] = bias
    losses = _losses(method, make_batch())
    # sagittal has no idea and both peers are sure: half of two times ln 2. Its own doubt teaches nobody.
    assert float(losses["sagittal"]) == pytest.approx(math.log(2))
    assert float(losses["coronal"]) == pytest.approx(0, abs=1e-3)
    assert float(method.scalars["trusted"]) == pytest.approx(2 / 3)


def test_no_network_teaches_itself(make_small, make_batch) -> None:
    """With three alike and certain networks, each hears exactly two peers."""
    method = make_small(beta_schedule=1.0)
    for network in method.networks.values():
        nn.init.zeros_(network.output.weight)
        with torch.no_grad():
            network.output.bias.copy_(torch.tensor([0.0, 2.0]))
    for loss in _losses(method, make_batch()).values():
        assert float(loss) == pytest.approx(math.log1p(math.exp(-2)))


def test_labels_off_the_planes_change_nothing_without_pseudo_labels(make_small, make_batch) -> None:
    """With pseudo_labels none every loss is bit-identical for any other label, distance and confidence there."""
    method, batch = make_small(pseudo_labels="none"), make_batch()
    off = (batch.annotation < 0)[:, None].expand_as(batch.label)
    expected = _losses(method, batch)
    for value in (0, 1, UNKNOWN):
        changed = replace(
            batch, label=batch.label.masked_fill(off, value), distance=torch.full_like(batch.distance, torch.nan)
        )
        found = _losses(make_small(pseudo_labels="none"), changed)
        assert all(torch.equal(found[view], expected[view]) for view in method.views)
    per_view = make_small(), replace(batch, label=batch.label.masked_fill(off, 0))
    assert not torch.equal(_losses(make_small(), batch)["axial"], _losses(*per_view)["axial"])


def test_weights_fall_with_distance_and_are_one_where_annotated(make_batch) -> None:
    """Eq. 6: 1 on annotated voxels, alpha**distance elsewhere, 0 where nothing is known."""
    batch = make_batch()
    batch.label[0, 1, 9, 9, 9] = UNKNOWN
    batch.distance[:, :, 4] = 3  # an annotated plane stays at weight 1 whatever its distance
    label, weight = supervision(batch, 1, alpha=0.5, pseudo_labels="per_view")
    assert torch.equal(weight[batch.annotation >= 0], torch.ones(int((batch.annotation >= 0).sum())))
    assert weight[0, 9, 9, 9] == 0
    assert weight[0, 9, 10, 11] == 0.5**6  # channel 1 is six slices from plane 4 along the second axis
    assert label[0, 9, 10, 11] == batch.label[0, 1, 9, 10, 11]


def test_fused_labels_are_weighted_by_their_confidence(make_batch) -> None:
    """Confidence off the planes, 1 on them, and an error if the loader forgot it."""
    batch = make_batch(confidence=True)
    _, weight = supervision(batch, 0, alpha=0.5, pseudo_labels="fused")
    annotated = batch.annotation >= 0
    assert batch.confidence is not None
    assert torch.equal(weight[~annotated], batch.confidence[~annotated])
    assert (weight[annotated] == 1).all()
    with pytest.raises(ValueError, match="no confidence"):
        supervision(replace(batch, confidence=None), 0, alpha=0.5, pseudo_labels="fused")


def test_annotation_wins_over_the_label_channel(make_batch) -> None:
    """What an annotator drew is the target on the planes, in every mode."""
    batch = make_batch(confidence=True)
    annotated = batch.annotation >= 0
    wrong = replace(batch, label=1 - batch.label)
    for mode in ("per_view", "fused", "none"):
        label, _ = supervision(wrong, 2, alpha=0.9, pseudo_labels=mode)
        assert torch.equal(label[annotated], batch.annotation[annotated])


def test_a_batch_without_any_label_gives_finite_losses(make_small, make_batch) -> None:
    """The supervised part is exactly 0."""
    batch = make_batch()
    empty = replace(
        batch, label=torch.full_like(batch.label, UNKNOWN), annotation=torch.full_like(batch.annotation, UNKNOWN)
    )
    method = make_small()
    losses = _losses(method, empty)
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(float(method.scalars[f"sup/{view}"]) == 0 for view in method.views)


def test_the_same_seed_gives_the_same_losses(make_small, make_batch) -> None:
    """Dropout and noise follow torch's global seed alone."""
    a, b, c = (_losses(make_small(), make_batch(), seed=seed) for seed in (7, 7, 8))
    assert all(torch.equal(a[view], b[view]) for view in a)
    assert not torch.equal(a["axial"], c["axial"])


PAPER = {"skip": "concat", "beta_schedule": "literal", "stochastic_norm": "batch"}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, PAPER, {"text_prompt": False, "image_prompt": False}])
def test_it_learns_two_blobs_in_a_few_iterations(make_small, make_batch, settings) -> None:
    """The ensemble finds bright blobs in scans it was not trained on."""
    method = make_small(stochastic_passes=1, **settings)
    _train(method, make_batch(), 15)
    unseen = make_batch(seed=1)
    with torch.no_grad():
        predicted = method.eval().predict(unseen.image).argmax(dim=1) == 1
    truth = torch.nn.functional.avg_pool3d(unseen.image, 3, 1, 1)[:, 0] > 1  # blobs are 2, noise averages out
    dice = 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum())
    assert dice > 0.7


def _three_of(batch: Batch) -> Batch:
    """A batch that holds `batch` three times over, labelled samples first."""
    labelled, unlabelled = batch.image_labelled, batch.image_unlabelled
    rest = {name: torch.cat([getattr(batch, name)] * 3) for name in ("label", "distance", "annotation")}
    return Batch(image=torch.cat([labelled] * 3 + [unlabelled] * 3), **rest)


def test_sequential_updates_give_each_network_a_batch_of_its_own(make_small, make_batch) -> None:
    """Only the images of its own part change a network's loss, in both streams."""
    batch = _three_of(make_batch())

    def losses(batch: Batch) -> dict[str, Tensor]:
        method = make_small(updates="sequential")
        assert (method.batches_per_step, make_small().batches_per_step) == (3, 1)
        for network in method.networks.values():  # else the images that a network saw before live on in its statistics
            network.eval()
        return _losses(method, batch)

    before = losses(batch)
    for sample, owner in ((1, "sagittal"), (2, "coronal"), (9, "coronal"), (11, "axial")):
        image = batch.image.clone()
        image[sample] += torch.linspace(0, 3, 16)
        after = losses(replace(batch, image=image))
        assert [view for view in before if not torch.equal(before[view], after[view])] == [owner]


def test_sequential_updates_ask_peers_that_were_updated_before(make_small, make_batch) -> None:
    """Whether the first network was updated changes the second's loss; with joint updates it does not."""
    for updates, batch in (("sequential", _three_of(make_batch())), ("joint", make_batch())):
        losses = []
        for update in (False, True):
            method = make_small(updates=updates, beta_schedule=1.0)
            torch.manual_seed(7)
            steps = method.step(batch, 75)
            next(steps)
            if update:
                with torch.no_grad():
                    method.networks["sagittal"].output.bias += torch.tensor([0.0, 50.0])
            losses.append(next(steps)[1])
        assert torch.equal(*losses) == (updates == "joint")


def test_sequential_updates_train_and_record_every_scalar(make_small, make_batch) -> None:
    """Each network is updated once, with the same curves as joint updates have."""
    method, joint = make_small(updates="sequential", stochastic_norm="batch"), make_small()
    before = {view: network.output.weight.clone() for view, network in method.networks.items()}
    _train(method, _three_of(make_batch()), 1)
    _losses(joint, make_batch())
    assert set(method.scalars) == set(joint.scalars)
    assert all(not torch.equal(before[view], network.output.weight) for view, network in method.networks.items())


def test_a_step_of_the_published_code_costs_its_120_sample_forwards(make_small, make_batch, monkeypatch) -> None:
    """Three training forwards of 4; for each, both peers' argmax of 2 and T = 8 passes of 2. Joint updates: 60.

    Where passes share their noise, they run no network as a whole, so each has its own here.
    """
    samples = [0]
    monkeypatch.setattr(nn.Module, "__call__", _counting(samples, nn.Module.__call__), raising=True)
    for settings, batch, expected in (
        ({"updates": "sequential", "stochastic_norm": "batch"}, _three_of(make_batch()), 120),
        ({}, make_batch(), 60),
    ):
        samples[0] = 0
        _losses(make_small(stochastic_passes=8, stochastic_noise="each", **settings), batch)
        assert samples[0] == expected


def _counting(samples: list[int], call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`call`, which counts the samples that reach a backbone."""

    def counted(module: nn.Module, *arguments: Tensor, **keywords: Tensor) -> Tensor:
        if isinstance(module, Backbone):
            samples[0] += len(arguments[0])
        return call(module, *arguments, **keywords)

    return counted


def test_a_batch_is_divided_into_equal_shares_of_both_streams(make_batch) -> None:
    """Every sample is in exactly one part; what cannot be divided is refused."""
    batch = _three_of(make_batch(confidence=False))
    parts = [batch.part(index, 3) for index in range(3)]
    assert all(torch.equal(part.image, make_batch().image) for part in parts)
    assert all(torch.equal(part.label, make_batch().label) for part in parts)
    own = replace(make_batch(confidence=True), image_embedding=torch.arange(4.0).reshape(4, 1, 1))
    assert own.part(1, 2).image_embedding.flatten().tolist() == [1, 3]
    assert torch.equal(own.part(1, 2).confidence, own.confidence[1:])
    with pytest.raises(ValueError, match=r"2 \+ 2 samples do not make 3"):
        own.part(0, 3)


def test_each_graph_is_freed_by_its_own_update(make_small, make_batch) -> None:
    """A later network's loss stays valid after earlier networks were updated in place."""
    method = make_small()
    optimizers = method.optimizers()
    for name, loss in method.step(make_batch(), 0):
        loss.backward()
        optimizers[name].step()  # would raise in the next backward if a graph were shared
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()


def test_bf16_autocast_gives_fp32_losses_near_the_fp32_ones(make_small, make_batch) -> None:
    """Networks may run in half precision, losses never do."""
    exact = _losses(make_small(), make_batch())
    with torch.autocast("cpu", torch.bfloat16):
        found = _losses(make_small(), make_batch())
    for view, loss in found.items():
        assert loss.dtype == torch.float32
        assert float(loss) == pytest.approx(float(exact[view]), rel=0.05)


def test_several_classes(make_small, make_batch) -> None:
    """Three foreground classes train and predict, with one embedding each."""
    method = make_small(num_classes=4)
    batch = make_batch()
    _train(method, replace(batch, label=batch.label * 3, annotation=batch.annotation.clamp(max=0)), 2)
    assert method.eval().predict(batch.image).shape == (4, 4, 16, 16, 16)


def test_samples_may_bring_their_own_image_embeddings(make_small, make_batch) -> None:
    """They reach the training forward and the stochastic passes of the right samples."""
    batch = make_batch()
    pooled = _losses(make_small(), batch)
    absent = _losses(make_small(), replace(batch, image_embedding=torch.full((4, 1, 8), torch.nan)))
    own = _losses(make_small(), replace(batch, image_embedding=torch.randn(4, 1, 8)))
    for view in pooled:
        torch.testing.assert_close(absent[view], pooled[view])
        assert not torch.equal(own[view], pooled[view])


def test_prediction_is_the_mean_softmax(make_small, make_batch) -> None:
    """The returned logits are the log of the mean of the networks' softmaxes."""
    method = make_small().eval()
    image = make_batch().image
    with torch.no_grad():
        expected = torch.stack([network(image).softmax(dim=1) for network in method.networks.values()]).mean(dim=0)
        torch.testing.assert_close(method.predict(image).exp(), expected)


def test_prediction_by_one_network(make_small, make_batch) -> None:
    """`inference` names it; a name that is no network is refused."""
    method = make_small(inference="coronal").eval()
    image = make_batch().image
    assert torch.equal(method.predict(image), method.networks["coronal"](image))
    with pytest.raises(UserError, match="expected ensemble or sagittal, coronal, axial"):
        make_small(inference="oblique")


def test_prediction_is_fresh_and_finite_in_half_precision(make_small, make_batch) -> None:
    """Logits at the ends of half precision neither underflow to -inf nor overflow when nnU-Net sums its patches."""
    method = make_small().eval()
    for network, gap in zip(method.networks.values(), (6e4, 6e4, 6e4), strict=True):
        nn.init.zeros_(network.output.weight)
        with torch.no_grad():
            network.output.bias.copy_(torch.tensor([gap, -gap]))
    image = make_batch().image
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        first, second = method.predict(image), method.predict(image)
    assert first.data_ptr() != second.data_ptr()
    # nnU-Net: eight mirrored predictions, Gaussian weights up to 10, eight overlapping patches at a corner.
    assert torch.isfinite((first * 80).half()).all()
    assert (first.argmax(dim=1) == 0).all()


def test_a_prompt_without_an_embedding_is_refused(make_small) -> None:
    """The message says which setting mends it."""
    from nnunetv2_rada.config import Config
    from nnunetv2_rada.method import make_method

    with pytest.raises(UserError, match="set image_prompt to false"):
        make_method(Config(), in_channels=1, num_classes=2, text_dim=512, image_dim=0, views=("axial",))


def test_text_prompt_alone_has_the_published_adapter(make_small) -> None:
    """SGTC: D is the text embedding's size; RADA: the sum of both."""
    assert make_small(image_prompt=False).networks["axial"].guidance.adapter.squeeze.in_features == 12
    assert make_small().networks["axial"].guidance.adapter.squeeze.in_features == 20
    assert make_small(text_prompt=False, image_prompt=False).prompts is None


def test_prompts_are_shared_and_restored_by_name(make_small, make_batch) -> None:
    """Assigning once serves all networks; a method built from shapes alone predicts the same after loading."""
    method = make_small().eval()
    fresh = make_small(seed=9, assign=False).eval()
    fresh.networks.load_state_dict(method.networks.state_dict(), strict=True)
    image = make_batch().image
    assert torch.equal(fresh.predict(image), method.predict(image))
