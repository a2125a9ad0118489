"""nnU-Net trainers that train from sparse annotations: hooks, and nothing else."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from nnunetv2.configuration import default_num_processes
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw, nnUNet_results
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import autocast, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from nnunetv2_rada.annotated_dice import collapsed, count_all, mean_dice, take_branches
from nnunetv2_rada.checkpoint import (
    EPOCH_OUTPUTS,
    METHOD_STATE,
    SECTION,
    check_pretrained_weights,
    read_checkpoint,
    write_checkpoint,
)
from nnunetv2_rada.clean_exit import ends_cleanly
from nnunetv2_rada.config import Config
from nnunetv2_rada.curves import Curves
from nnunetv2_rada.data.class_shares import class_shares
from nnunetv2_rada.data.loader import Stream, TwoStreamLoader, start_loader
from nnunetv2_rada.data.quarter_turns import QuarterTurnsAndFlip, initial_patch
from nnunetv2_rada.data.rada_folder import sync_rada_folder
from nnunetv2_rada.data.randomness import INITIALISATION, TRAINING_STEP, seed_all
from nnunetv2_rada.data.side_volumes import SIDE_FOLDER, Tools, labelled_sources, prepare
from nnunetv2_rada.data.streams import fold_streams
from nnunetv2_rada.data.transforms import follow_augmentation
from nnunetv2_rada.distributed import first_rank_first
from nnunetv2_rada.embeddings import load_prompts, own_embeddings, pooled_embeddings
from nnunetv2_rada.epoch_progress import EpochProgress
from nnunetv2_rada.host_memory import keep_freed_memory
from nnunetv2_rada.method import make_method
from nnunetv2_rada.method.base import UNKNOWN, Batch, Method
from nnunetv2_rada.network import MethodNetwork
from nnunetv2_rada.optimization import OptimizerSet, RatePerIteration
from nnunetv2_rada.plan_section import (
    PlanSection,
    differences,
    embeddings_differ,
    mirror_axes,
    stored_section,
    training_patch,
)
from nnunetv2_rada.planned_backbone import patch_multiples, planned_backbones
from nnunetv2_rada.training_checks import (
    check_fold,
    check_surroundings,
    planned_configuration,
    pretrained_weights_option,
    too_small_batches_refused,
)
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.processes.lock import FileLock
from sparse_annotation_tools.schema import VIEWS, CasesFile

_BATCH_TENSORS = ("image", "label", "distance", "annotation", "plane", "confidence")


class nnUNetTrainerRADA(nnUNetTrainer):
    """RADA: three V-Nets, one a view, guided by region-aware prompts, learn from three annotated slices per scan.

    Departure from the paper: see docs/paper-to-code.md for every decision that the paper leaves open.
    """

    settings: ClassVar[dict[str, Any]] = {}
    """Changes to the defaults of `Config`; each variant of the trainer has its own."""

    # ---- setting up -------------------------------------------------------------------------------------------------

    @ends_cleanly
    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net's own signature)
    ) -> None:
        check_surroundings(device)
        manager = PlansManager(plans)
        planned = planned_configuration(manager, configuration, dataset_json)
        self.continues = bool(plans.get("continue_training", False))
        raw = Path(nnUNet_raw) / manager.dataset_name if nnUNet_raw.is_set() else None
        with first_rank_first():
            self.rada = sync_rada_folder(raw, Path(nnUNet_preprocessed) / manager.dataset_name)
        self.cases = CasesFile.load(self.rada)
        check_fold(fold, self.rada)

        wanted = Config.from_json(self.settings, source=f"the settings of {type(self).__name__}")
        if os.environ.get("RADA_CONFIG"):
            wanted = wanted.overridden_by_file(os.environ["RADA_CONFIG"])
        folder = f"{type(self).__name__}__{manager.plans_name}__{configuration}"
        self.stored = stored_section(Path(nnUNet_results) / manager.dataset_name / folder, configuration)
        self.wanted = wanted
        self.config = self.stored.config if self.stored else wanted
        self.prompts = load_prompts(self.config, self.rada, self.cases)
        self.section = self.stored or PlanSection.of_run(self.config, self.prompts)
        planned_backbone = self.config.backbone == "plans"
        multiples = patch_multiples(planned.network_arch_init_kwargs) if planned_backbone else None
        plans["configurations"][configuration].update(
            patch_size=training_patch(planned.patch_size, self.config.max_patch_voxels, multiples),
            batch_size=self.config.batch_labelled + self.config.batch_unlabelled,
            rada=self.section.to_json(),
        )
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False
        self.num_iterations_per_epoch = self.config.iterations_per_epoch
        self.num_val_iterations_per_epoch = self.config.val_iterations_per_epoch
        self.num_epochs = self.config.num_iterations // self.config.iterations_per_epoch
        self.initial_lr = self.config.learning_rate
        self.save_every = 1
        self.curves = Curves(self.logger.local_logger.my_fantastic_logging)
        self.progress = EpochProgress(self.config.checkpoint_minutes)
        self.lock = FileLock(Path(self.output_folder) / ".lock")
        self.has_weights_of_its_own = False
        """Whether a checkpoint was loaded; the embeddings in its networks are then the run's."""
        self.labelled_training_cases: Sequence[str] = ()
        """Of this fold; known when the loaders are made."""

    @classmethod
    @ends_cleanly
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> nn.Module:
        """Build the method's networks from plans.json alone, as prediction must."""
        section = PlanSection.of_model(configuration_manager.configuration)
        method = make_method(
            section.config,
            in_channels=num_input_channels,
            num_classes=num_output_channels,
            text_dim=section.text_dim,
            image_dim=section.image_dim,
            views=VIEWS,
            make_backbone=(
                planned_backbones(configuration_manager, num_input_channels)
                if section.config.backbone == "plans"
                else None
            ),
        )
        return MethodNetwork(method)

    @ends_cleanly
    def initialize(self) -> None:
        """Build networks and optimizers from the run's seed."""
        if self.device.type == "cpu":
            keep_freed_memory()
        seed_all(self.config.seed, INITIALISATION, 0)
        super().initialize()
        if (file := pretrained_weights_option(sys.argv)) is not None:  # nnU-Net loads them next, with bare assertions
            check_pretrained_weights(file, self.method_network.state_dict())

    @property
    def method(self) -> Method:
        """The training method behind nnU-Net's network."""
        return self.method_network.method

    @property
    def method_network(self) -> MethodNetwork:
        """The network that nnU-Net sees, out of the wrapper for several GPUs, which it gets after its optimizers."""
        return self.network.module if isinstance(self.network, DistributedDataParallel) else self.network

    def configure_optimizers(self) -> tuple[OptimizerSet, RatePerIteration]:
        """Return the method's own optimizers; the method sets their rates at every iteration."""
        return OptimizerSet(self.method.optimizers(), gradient_clip=self.config.gradient_clip), RatePerIteration()

    def _set_batch_size_and_oversample(self) -> None:
        """Each process of a distributed training draws a whole batch: labelled and unlabelled samples on every GPU."""
        self.batch_size = self.configuration_manager.batch_size

    def _build_loss(self) -> None:
        """There is none here: the method yields its losses."""

    def _do_i_compile(self) -> bool:
        """Compiling nnU-Net's view of the networks would reach prediction only, at the cost of a recompilation."""
        return False

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Do nothing: these networks have one output."""

    # ---- data -------------------------------------------------------------------------------------------------------

    def do_split(self) -> tuple[list[str], list[str]]:
        """Return training and validation cases; only labelled cases validate."""
        training, validation = super().do_split()
        strange = sorted({*training, *validation} - self.cases.cases.keys())
        if strange:
            raise UserError(
                f"{self.rada.splits_file} or the preprocessed data name case {strange[0]}, which cases.json does not; "
                "make the dataset again with rada-make-sparse-dataset, and preprocess it again"
            )
        return training, [case for case in validation if self.cases.cases[case].labelled]

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> Any:  # noqa: N802 (nnU-Net's name)
        """Use nnU-Net's augmentation, without mirroring where left and right are different classes."""
        rotation, dummy_2d, initial_patch, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        axes = mirror_axes(self.config, self.cases, self.plans_manager.transpose_forward)
        self.inference_allowed_mirroring_axes = axes or None  # nnU-Net's prediction cannot take an empty tuple
        return rotation, dummy_2d, initial_patch, axes

    def get_dataloaders(self) -> tuple[Any, Any]:
        """Prepare the side volumes, then start the two-stream loaders where this run stands."""
        folder = Path(self.preprocessed_dataset_folder)
        dataset = self.dataset_class(str(folder))
        with first_rank_first():
            truth = Path(self.preprocessed_dataset_folder_base) / "gt_segmentations"
            spacing = self.configuration_manager.spacing
            sources = labelled_sources(self.cases, self.rada, dataset, truth, self.plans_manager, spacing)
            tools = Tools.of_plans(self.plans_manager, self.configuration_manager, self.label_manager.ignore_label)
            prepare(sources, folder / SIDE_FOLDER, tools, num_processes=default_num_processes)

        config, patch, workers = self.config, self.configuration_manager.patch_size, get_allowed_n_proc_DA()
        cut, transforms = self._augmentation(patch)
        training, validation = fold_streams(
            self.cases, *self.do_split(), config=config, method=self.method, rank=self.local_rank,
            write_line=self.print_to_log_file,
        )  # fmt: skip
        self.labelled_training_cases = training.labelled

        def loader(stream: Stream, cut: Any, transforms: Any, first_iteration: int, num_workers: int) -> Any:
            made = TwoStreamLoader(
                dataset, folder / SIDE_FOLDER, stream, initial_patch_size=cut, patch_size=patch,
                label_manager=self.label_manager, transforms=transforms,
                first_iteration=first_iteration, num_workers=num_workers,
            )  # fmt: skip
            return start_loader(made, pin_memory=self.device.type == "cuda")

        first = self.current_epoch * config.iterations_per_epoch + len(self.progress.outputs)
        first_validation = self.current_epoch * config.val_iterations_per_epoch
        return (
            loader(training, cut, transforms, first, workers),
            loader(validation, patch, None, first_validation, min(1, workers)),
        )

    def _augmentation(self, patch: list[int]) -> tuple[Any, Any]:
        """Return the shape to cut out of a scan, and the transforms that make the training patch of it."""
        rotation, dummy_2d, cut, axes = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        if self.config.augmentation == "rot90_flip":
            return initial_patch(patch), QuarterTurnsAndFlip(patch, flip={0, 1, 2} <= set(axes))
        masks = self.configuration_manager.use_mask_for_norm
        stock = self.get_training_transforms(patch, rotation, None, axes, dummy_2d, use_mask_for_norm=masks)
        return cut, follow_augmentation(stock)

    # ---- training ---------------------------------------------------------------------------------------------------

    @ends_cleanly
    def on_train_start(self) -> None:
        """Refuse to mix two configs in one results folder; show the config of this run."""
        if self.stored is not None and (changed := differences(self.stored.config, self.wanted)):
            if not self.continues:
                raise UserError(
                    f"{self.output_folder_base} was trained with other settings ({'; '.join(changed)}); "
                    "give --c to go on with the stored ones, or move the folder or set another nnUNet_results"
                )
            self.print_to_log_file(f"Going on with the stored settings ({'; '.join(changed)})")
        of_now = PlanSection.of_run(self.config, self.prompts)
        if self.stored is not None and (changed_embeddings := embeddings_differ(self.stored, of_now)):
            raise UserError(
                f"{self.output_folder_base} was trained with other embeddings ({changed_embeddings}); "
                "make the former again with rada-embed, or move the folder or set another nnUNet_results"
            )
        if self.local_rank == 0:  # for all ranks of a training
            self.lock.take_or_refuse(Path(self.output_folder))
        super().on_train_start()
        if self.prompts is not None and not self.has_weights_of_its_own:  # after -pretrained_weights, which have others
            text, image = pooled_embeddings(
                self.prompts, self.config, self.labelled_training_cases, self.print_to_log_file
            )
            self.method.prompts.assign(text=text, image=image)
        if self.config.output_bias == "shares" and not self.method_network.has_loaded_weights:
            side = Path(self.preprocessed_dataset_folder) / SIDE_FOLDER
            shares = class_shares(side, self.labelled_training_cases, len(self.cases.classes) + 1)
            self.method.assign_class_shares(shares)
            self.print_to_log_file("Share of each class in annotated voxels:", [round(s, 4) for s in shares.tolist()])
        self.print_to_log_file(f"RADA config: {self.config.to_json()}")
        self.print_to_log_file(f"Embeddings: {self.section.encoder}")

    def on_train_epoch_start(self) -> None:
        """Go on after the iterations that a checkpoint in the middle of this epoch holds."""
        self.num_iterations_per_epoch = self.config.iterations_per_epoch - len(self.progress.outputs)
        super().on_train_epoch_start()
        self.progress.begin()

    def _on_device(self, loaded: dict[str, Any], *names: str) -> list[torch.Tensor]:
        if "error" in loaded:
            raise UserError(loaded["error"])
        return [loaded[name].to(self.device, non_blocking=True) for name in names]

    def _autocast(self) -> Any:
        """nnU-Net's mixed precision on a GPU; none on a CPU, whose bfloat16 weight gradients of small maps hold NaN."""
        return autocast(self.device.type, enabled=self.device.type == "cuda")

    @ends_cleanly
    def train_step(self, batch: dict[str, Any]) -> dict[str, float]:
        """Run one iteration of the method; write a checkpoint where the last one is old."""
        with self.progress.iteration():
            self.progress.outputs.append(self._iteration(batch))
            if self.progress.checkpoint_is_due and len(self.progress.outputs) < self.config.iterations_per_epoch:
                self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_latest.pth"))
        return self.progress.outputs[-1]

    def _iteration(self, loaded: dict[str, Any]) -> dict[str, float]:
        """Take one optimizer update per loss that the method yields; return the mean loss and recorded scalars."""
        tensors = dict(zip(_BATCH_TENSORS, self._on_device(loaded, *_BATCH_TENSORS), strict=True))
        embedding = own_embeddings(self.prompts, self.config, self.labelled_training_cases, loaded["keys"])
        batch = Batch(**tensors, image_embedding=None if embedding is None else embedding.to(self.device))
        iteration = loaded["iteration"]
        seed_all(self.config.seed, TRAINING_STEP, iteration, self.local_rank)
        self.optimizer.set_learning_rates(self.method.learning_rate(iteration))
        steps = self.method.step(batch, iteration)
        losses = []
        while True:
            with self._autocast(), too_small_batches_refused(self.configuration_manager.patch_size):
                named_loss = next(steps, None)
            if named_loss is None:
                break
            name, loss = named_loss
            try:
                if not torch.isfinite(loss):
                    raise FloatingPointError(f"the loss of {name} is {float(loss)}")
                self.optimizer.update(name, loss, self.grad_scaler)
            except FloatingPointError as error:
                raise UserError(
                    f"{error} at iteration {iteration}; the last checkpoint is kept; look for broken "
                    "intensities in the batch's cases " + ", ".join(loaded["keys"])
                ) from None
            losses.append(loss.detach())
        if self.grad_scaler is not None:
            self.grad_scaler.update()
        names = list(self.method.scalars)
        values = torch.stack(
            [torch.stack(losses).mean(), *(self.method.scalars[name].to(self.device) for name in names)]
        )
        return dict(zip(["loss", *names], values.tolist(), strict=True))

    def on_train_epoch_end(self, train_outputs: list[dict[str, float]]) -> None:
        """Keep the epoch's mean of every scalar that the method recorded, and the share of time without data."""
        outputs, waited = self.progress.end()
        super().on_train_epoch_end([{"loss": output["loss"]} for output in outputs])
        for name in outputs[0]:
            if name != "loss":
                self.curves.append(name, float(np.mean([output[name] for output in outputs])), self.current_epoch)
        self.curves.append("data_wait", waited, self.current_epoch)

    @ends_cleanly
    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Measure the ensemble and each network on annotated voxels."""
        image, annotation = self._on_device(batch, "image", "annotation")
        annotation = annotation.long()
        with self._autocast():
            ensemble = self.network(image).float()
            branches = {name: network(image).argmax(1) for name, network in self.method.networks.items()}
        known = (annotation != UNKNOWN).sum().clamp(min=1)
        loss = F.cross_entropy(ensemble, annotation, ignore_index=UNKNOWN, reduction="sum") / known
        classes = self.label_manager.foreground_labels
        return {"loss": float(loss), **count_all(ensemble.argmax(1), branches, annotation, classes)}

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Keep each network's Dice, beside nnU-Net's own record of the ensemble's; warn of a collapsed one."""
        counts = take_branches(val_outputs)
        for name, of_branch in counts.items():
            self.curves.append(f"dice/{name}", mean_dice(of_branch), self.current_epoch)
        for line in collapsed(counts, sorted(self.cases.classes, key=self.cases.classes.get)):
            self.print_to_log_file(line)
        super().on_validation_epoch_end(val_outputs)

    @ends_cleanly
    def on_epoch_end(self) -> None:
        """Write the curves beside nnU-Net's progress.png."""
        self.curves.log(self.print_to_log_file)
        super().on_epoch_end()
        if self.local_rank == 0:
            self.curves.write(Path(self.output_folder))

    def on_train_end(self) -> None:
        """Let others train in this folder."""
        super().on_train_end()
        self.lock.release()

    # ---- checkpoints ------------------------------------------------------------------------------------------------

    @ends_cleanly
    def save_checkpoint(self, filename: str) -> None:
        """Write nnU-Net's checkpoint with the method's own state, and what a started epoch gave so far."""
        stock = io.BytesIO()
        super().save_checkpoint(stock)
        if self.local_rank == 0 and not self.disable_checkpointing:
            stock.seek(0)
            content = torch.load(stock, map_location="cpu", weights_only=False)
            content[METHOD_STATE], content[SECTION] = self.method.method_state(), self.section.to_json()
            if self.progress.outputs:
                content.update({"current_epoch": self.current_epoch, EPOCH_OUTPUTS: self.progress.outputs})
            write_checkpoint(Path(filename), content)
        self.progress.saved()

    @ends_cleanly
    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        """Load nnU-Net's part, then the method's own state; an epoch that was not finished goes on."""
        checkpoint = read_checkpoint(filename_or_checkpoint, self.device)
        super().load_checkpoint(filename_or_checkpoint)
        self.method.load_method_state(checkpoint[METHOD_STATE])
        self.progress.restore(checkpoint.get(EPOCH_OUTPUTS, []))
        self.curves = Curves(self.logger.local_logger.my_fantastic_logging)
        self.curves.forget_from(self.current_epoch)
        self.has_weights_of_its_own = True
