"""Co-training of three guided V-Nets, one per view (RADA; with the text prompt alone, SGTC)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import schedules
from nnunetv2_rada.method.base import Backbone, Batch, Method, Task
from nnunetv2_rada.method.ensemble import ensemble_logits
from nnunetv2_rada.method.guidance import GuidedNetwork, Prompts
from nnunetv2_rada.method.losses import peer_loss, supervised_loss
from nnunetv2_rada.method.sgd import learning_rate, make_sgd
from nnunetv2_rada.method.uncertainty import predictive_entropy, stochastic_mode
from nnunetv2_rada.method.vnet import VNet
from sparse_annotation_tools.errors import UserError

CONFIDENT = 0.9  # mean probability of the networks from which their prediction may replace a propagated label


class CoTraining(Method):
    """One network per view: each learns from its own labels, and on unlabelled scans from its confident peers.

    Departure from the paper's code base: all networks share one unlabelled batch and are updated together, as the
    paper's Algorithm 1 says, so each network's training forward and stochastic passes serve both peers. The code
    draws three batches and updates one network after the other (`Config.updates = "sequential"`).

    Args:
        config: Settings of the run.
        task: What is segmented; its views name the networks.

    Raises:
        UserError: `config.inference` names no network, a prompt is asked for that has no embedding, or networks that
            see a pair of planes are to learn registered labels, which hold all planes.
    """

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__()
        self.config, views, self.num_classes = config, task.views, task.num_classes
        self.views = tuple(views) if config.networks == "all" else tuple(config.networks)
        if not self.views or not set(self.views) <= set(views):
            raise UserError(
                f"setting networks is {config.networks!r}, expected all or a list of some of {', '.join(views)}"
            )
        self.batches_per_step = len(self.views) if config.updates == "sequential" else 1
        if config.inference not in ("ensemble", *self.views):
            raise UserError(f"setting inference is {config.inference!r}, expected ensemble or {', '.join(self.views)}")

        if config.refresh_after < 1 and config.updates == "sequential":
            raise UserError("refresh_after asks all networks at once, but updates is sequential; set updates to joint")
        if config.planes == "pair" and config.pseudo_labels != "none":
            raise UserError(
                f"planes is pair, but pseudo_labels is {config.pseudo_labels}: registered labels hold all planes; "
                "set pseudo_labels to none or planes to all"
            )

        def vnet() -> VNet:
            return VNet(in_channels=task.in_channels, base_filters=config.base_filters, skip=config.skip)

        build = task.make_backbone or vnet
        prompts = _make_prompts(config, task)
        self.networks = nn.ModuleDict({view: self.make_network(build(), prompts) for view in self.views})

    def make_network(self, backbone: Backbone, prompts: Prompts | None) -> nn.Module:
        """Return one network; it maps an image (and embeddings) to logits."""
        modulated = self.config.guidance == "film"
        return GuidedNetwork(backbone, num_classes=self.num_classes, prompts=prompts, modulated=modulated)

    @property
    def prompts(self) -> Prompts | None:
        """The embeddings that all networks share; None without prompts. Call `assign` on it before training."""
        return cast("GuidedNetwork", self.networks[self.views[0]]).prompts

    def optimizers(self) -> dict[str, Optimizer]:
        """One SGD per network."""
        return {view: make_sgd(network.parameters(), self.config) for view, network in self.networks.items()}

    def learning_rate(self, iteration: int) -> dict[str, float]:
        """The same schedule for every network."""
        return dict.fromkeys(self.views, learning_rate(iteration, self.config))

    def step(self, batch: Batch, iteration: int) -> Iterator[tuple[str, Tensor]]:
        """Yield L_total of each network: (1 - 2b) L_sup + b (L_peer1 + L_peer2), eq. 11; (1 - b) with one peer."""
        config, total = self.config, self.config.num_iterations
        now = _Schedules(
            b=schedules.peer_weight(iteration, total, config.beta_schedule),
            alpha=schedules.distance_decay(iteration, total, config.alpha),
            threshold=schedules.entropy_threshold(iteration, total, self.num_classes),
            refreshes=iteration >= config.refresh_after * total,
        )
        self.record("beta", 2 * now.b)
        self.record("alpha", now.alpha)
        yield from self._joint_step(batch, now) if config.updates == "joint" else self._sequential_step(batch, now)

    def _joint_step(self, batch: Batch, now: _Schedules) -> Iterator[tuple[str, Tensor]]:
        """All networks on one batch, each the teacher of both others, before any is updated (Algorithm 1)."""
        # Stochastic passes come first: they hold no graph, and the training forwards' graphs are not there yet.
        trusted = {view: self._trusted(view, batch, now) for view in self.views}
        logits = {view: network(batch.image, batch.image_embedding) for view, network in self.networks.items()}
        # max is argmax here, ten times faster on CPU.
        pseudo = {view: own[batch.num_labelled :].detach().max(dim=1).indices for view, own in logits.items()}
        self._record_trusted(trusted.values())
        agreed = mean_probability(logits.values(), batch.num_labelled) if now.refreshes else None
        for view in self.views:
            # pop: the last reference but the loss, so the graph goes with this network's update.
            yield view, self._loss(view, logits.pop(view), batch, pseudo, trusted, now, agreed)

    def _sequential_step(self, batch: Batch, now: _Schedules) -> Iterator[tuple[str, Tensor]]:
        """Each network on a batch of its own, taught by its peers as they are by then (the paper's code base)."""
        shares: list[Tensor] = []
        for v, view in enumerate(self.views):
            own_batch = batch.part(v, len(self.views))
            own = self.networks[view](own_batch.image, own_batch.image_embedding)
            peers = [peer for peer in self.views if peer != view]
            pseudo = {peer: self._pseudo_label(peer, own_batch) for peer in peers}
            trusted = {peer: self._trusted(peer, own_batch, now) for peer in peers}
            shares.extend(trusted.values())
            loss = self._loss(view, own, own_batch, pseudo, trusted, now)
            del own
            yield view, loss
        self._record_trusted(shares)

    def _loss(
        self,
        view: str,
        logits: Tensor,
        batch: Batch,
        pseudo: Mapping[str, Tensor],
        trusted: Mapping[str, Tensor],
        now: _Schedules,
        agreed: Tensor | None = None,
    ) -> Tensor:
        """L_total of one network from its logits [B, N, X, Y, Z] and its peers' labels on the unlabelled half.

        `agreed` [L, N, X, Y, Z] is the networks' mean probability, where it is to replace less trusted labels.
        """
        labelled = batch.num_labelled
        label, weight = supervision(
            batch,
            self.views.index(view),
            alpha=now.alpha,
            pseudo_labels=self.config.pseudo_labels,
            planes=self.config.planes,
        )
        if agreed is not None:
            off_planes = (batch.annotation < 0) & (batch.label >= 0).any(dim=1)
            label, weight = refreshed(label, weight, agreed, where=off_planes)
        supervised = supervised_loss(logits[:labelled], label, weight)
        peers = _sum_peer_losses(logits[labelled:], view, pseudo, trusted)
        loss = (1 - (len(self.views) - 1) * now.b) * supervised + now.b * peers
        self.record(f"loss/{view}", loss)
        self.record(f"sup/{view}", supervised)
        self.record(f"peer/{view}", peers)
        return loss

    def predict(self, image: Tensor) -> Tensor:
        """Return the log of the networks' mean softmax [B, N, X, Y, Z], or one network's logits; in fp32.

        Departure from the paper's code base, which predicts with its second network alone
        (`Config.inference = "coronal"`).
        """
        return ensemble_logits(self.networks, image, self.config.inference)

    def _trusted(self, view: str, batch: Batch, now: _Schedules) -> Tensor:
        """[U, X, Y, Z] bool: where a network's predictive entropy on the unlabelled half is below H(t)."""
        entropy = predictive_entropy(
            self.networks[view],
            batch.image_unlabelled,
            passes=self.config.stochastic_passes,
            image_embedding=_unlabelled_embedding(batch),
            norm=self.config.stochastic_norm,
            noise=self.config.stochastic_noise,
        )
        return entropy < now.threshold

    @torch.no_grad()
    def _pseudo_label(self, view: str, batch: Batch) -> Tensor:
        """[U, X, Y, Z]: a network's argmax on the unlabelled half, from a pass of its own with dropout on."""
        with stochastic_mode(self.networks[view], self.config.stochastic_norm):
            logits: Tensor = self.networks[view](batch.image_unlabelled, _unlabelled_embedding(batch))
        return logits.max(dim=1).indices

    def _record_trusted(self, masks: Iterable[Tensor]) -> None:
        """Keep the share of trusted voxels."""
        self.record("trusted", torch.stack([mask.float().mean() for mask in masks]).mean())


@dataclass(frozen=True, kw_only=True)
class _Schedules:
    """What the schedules give for one iteration: peer weight, distance decay, entropy threshold, refreshed labels."""

    b: float
    alpha: float
    threshold: float
    refreshes: bool


def _unlabelled_embedding(batch: Batch) -> Tensor | None:
    return None if batch.image_embedding is None else batch.image_embedding[batch.num_labelled :]


def supervision(
    batch: Batch, v: int, *, alpha: float, pseudo_labels: str, planes: str = "all"
) -> tuple[Tensor, Tensor]:
    """Return label and weight [L, X, Y, Z] for the network of label channel `v`, eq. 6.

    The weight is 1 on annotated voxels that the network sees: `all`, or those of its `pair` of planes. Elsewhere it is
    alpha**distance where a label was propagated (`per_view`), the fused label's confidence (`fused`), or 0 (`none`).
    """
    annotated = batch.annotation >= 0 if planes == "all" else in_own_pair(batch, v)
    if pseudo_labels == "none":
        return batch.annotation, annotated.float()
    propagated = batch.label[:, v]
    if pseudo_labels == "fused":
        if batch.confidence is None:
            raise ValueError("pseudo_labels is fused, but the batch has no confidence")
        weight = batch.confidence.float()
    else:
        weight = alpha ** batch.distance[:, v].float()
    weight = torch.where(annotated, 1, torch.where(propagated >= 0, weight, 0))
    return torch.where(annotated, batch.annotation, propagated), weight


@torch.no_grad()
def mean_probability(logits: Iterable[Tensor], num_labelled: int) -> Tensor:
    """Return the networks' mean softmax [L, N, X, Y, Z] on the labelled half."""
    return torch.stack([own[:num_labelled].detach().float().softmax(dim=1) for own in logits]).mean(dim=0)


def refreshed(label: Tensor, weight: Tensor, agreed: Tensor, *, where: Tensor) -> tuple[Tensor, Tensor]:
    """Return label and weight [L, X, Y, Z] in which the networks' own prediction replaced less trusted labels.

    Beyond the paper, whose propagated labels stay as they are. A voxel takes the class that the networks' mean
    probability `agreed` [L, N, X, Y, Z] favours, and that probability as its weight, if it is above both `CONFIDENT`
    and the voxel's weight. `where` [L, X, Y, Z] holds the voxels of the scan that nobody annotated.
    """
    probability, favoured = agreed.max(dim=1)
    takes = where & (probability > weight.clamp(min=CONFIDENT))
    return torch.where(takes, favoured.to(label.dtype), label), torch.where(takes, probability, weight)


def in_own_pair(batch: Batch, v: int) -> Tensor:
    """[L, X, Y, Z] bool: annotated voxels of all planes but one, which is another one for each network.

    Of the views (sagittal, coronal, axial) the first network leaves out axial, the second coronal, the third sagittal:
    they see {S, C}, {A, S} and {A, C}, as in SGTC. Where planes cross, a voxel is seen if one of its planes is.
    """
    if batch.plane is None:
        raise ValueError("planes is pair, but the batch does not say which plane covers a voxel")
    left_out = batch.plane.shape[1] - 1 - v
    seen = [batch.plane[:, other] > 0 for other in range(batch.plane.shape[1]) if other != left_out]
    return torch.stack(seen).any(dim=0) & (batch.annotation >= 0)


def _sum_peer_losses(logits: Tensor, view: str, pseudo: Mapping[str, Tensor], trusted: Mapping[str, Tensor]) -> Tensor:
    """Sum over this network's peers of `peer_loss`."""
    losses = [peer_loss(logits, pseudo[peer], trusted[peer]) for peer in pseudo if peer != view]
    return torch.stack(losses).sum() if losses else logits.new_zeros((), dtype=torch.float32)


def _make_prompts(config: Config, task: Task) -> Prompts | None:
    """The prompts that the config asks for, or None if it asks for none."""
    prompts = (("text", config.text_prompt, task.text_dim), ("image", config.image_prompt, task.image_dim))
    for name, wanted, dim in prompts:
        if wanted and dim < 1:
            raise UserError(f"{name}_prompt is on, but the dataset has no {name} embedding; set {name}_prompt to false")
    if not (config.text_prompt or config.image_prompt):
        return None
    return Prompts(
        num_foreground=task.num_classes - 1,
        text_dim=task.text_dim if config.text_prompt else 0,
        image_dim=task.image_dim if config.image_prompt else 0,
    )
