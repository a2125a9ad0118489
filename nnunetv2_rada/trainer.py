"""nnU-Net trainers that train from sparse annotations: hooks, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.configuration import default_num_processes
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw, nnUNet_results
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import autocast, nn
from torch import distributed as dist
from torch.nn import functional as F

from nnunetv2_rada.annotated_dice import annotated_counts, mean_dice
from nnunetv2_rada.clean_exit import ends_cleanly
from nnunetv2_rada.config import Config
from nnunetv2_rada.curves import Curves
from nnunetv2_rada.data.loader import Stream, TwoStreamLoader, start_loader
from nnunetv2_rada.data.rada_folder import sync_rada_folder
from nnunetv2_rada.data.randomness import INITIALISATION, TRAINING_BATCH, TRAINING_STEP, VALIDATION_BATCH, seed_all
from nnunetv2_rada.data.side_volumes import SIDE_FOLDER, Tools, labelled_sources, prepare
from nnunetv2_rada.data.transforms import follow_augmentation
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
from sparse_annotation_tools.atomic import atomic_path
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.store import PromptStore
from sparse_annotation_tools.schema import VIEWS, CasesFile

_HARD = ("tp_hard", "fp_hard", "fn_hard")  # nnU-Net's names for the ensemble's counts
_BRANCH = "branch/"
_BATCH_TENSORS = ("image", "label", "distance", "annotation", "confidence")


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
        manager = PlansManager(plans)
        planned = manager.get_configuration(configuration)
        if len(planned.patch_size) != 3 or planned.previous_stage_name is not None:
            raise UserError(
                f"configuration {configuration} is 2-D or a cascade stage, but RADA trains whole 3-D networks; "
                "give 3d_fullres or 3d_lowres"
            )
        if manager.get_label_manager(dataset_json).has_regions:
            raise UserError(
                "dataset.json defines regions, but RADA trains one label per voxel; merge or split the labels, see "
                "rada-make-sparse-dataset --label-names"
            )
        self.continues = bool(plans.get("continue_training", False))
        raw = Path(nnUNet_raw) / manager.dataset_name if nnUNet_raw.is_set() else None
        self.rada = sync_rada_folder(raw, Path(nnUNet_preprocessed) / manager.dataset_name)
        self.cases = CasesFile.load(self.rada)

        wanted = Config.from_json(self.settings, source=f"the settings of {type(self).__name__}")
        if os.environ.get("RADA_CONFIG"):
            wanted = wanted.overridden_by_file(os.environ["RADA_CONFIG"])
        folder = f"{type(self).__name__}__{manager.plans_name}__{configuration}"
        self.stored = stored_section(Path(nnUNet_results) / manager.dataset_name / folder, configuration)
        self.wanted = wanted
        self.config = self.stored.config if self.stored else wanted
        self.prompts = self._load_prompts()
        self.section = self.stored or self._new_section()
        plans["configurations"][configuration].update(
            patch_size=training_patch(planned.patch_size, self.config.max_patch_voxels),
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

    def _load_prompts(self) -> PromptStore | None:
        if not (self.config.text_prompt or self.config.image_prompt):
            return None
        if not self.rada.prompts_file.is_file():
            dataset_id = self.cases.dataset.removeprefix("Dataset").split("_")[0]
            raise UserError(
                f"{self.rada.prompts_file} not found, but {type(self).__name__} needs embeddings of the annotated "
                f"slices; run rada-embed -d {dataset_id} --encoder alpha-clip-tiny"
            )
        return PromptStore.load(self.rada.prompts_file, classes=sorted(self.cases.classes, key=self.cases.classes.get))

    def _new_section(self) -> PlanSection:
        config, prompts = self.config, self.prompts
        if prompts is None:
            return PlanSection(config=config, text_dim=0, image_dim=0, encoder="none")
        return PlanSection(
            config=config,
            text_dim=prompts.text_kt.shape[1] if config.text_prompt else 0,
            image_dim=prompts.image_size_pooled(concat=config.concat_planes) if config.image_prompt else 0,
            encoder=prompts.stamp or prompts.encoder,
        )

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> nn.Module:
        """Build the method's networks from plans.json alone, as prediction must."""
        section = PlanSection.from_json(configuration_manager.configuration["rada"])
        method = make_method(
            section.config,
            in_channels=num_input_channels,
            num_classes=num_output_channels,
            text_dim=section.text_dim,
            image_dim=section.image_dim,
            views=VIEWS,
        )
        return MethodNetwork(method)

    @ends_cleanly
    def initialize(self) -> None:
        """Build networks and optimizers from the run's seed, and give the networks their embeddings."""
        seed_all(self.config.seed, INITIALISATION, 0)
        super().initialize()
        if self.prompts is not None and not self._other_embeddings:  # else the checkpoint's are the only right ones
            text, image = self._pooled_embeddings()
            self.method.prompts.assign(text=text, image=image)

    @property
    def _other_embeddings(self) -> str:
        """How the dataset's embeddings differ from those that this results folder was trained with."""
        return embeddings_differ(self.stored, self._new_section()) if self.stored is not None else ""

    def _pooled_embeddings(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """E_t [K, Dt], and E_v [K, Dv] pooled over the labelled training cases of this fold."""
        assert self.prompts is not None
        text = torch.from_numpy(self.prompts.text_kt) if self.config.text_prompt else None
        if not self.config.image_prompt:
            return text, None
        for line in self.prompts.absences(self.labelled_training_cases):
            self.print_to_log_file(line)
        pooled = self.prompts.pooled_image_embedding(self.labelled_training_cases, concat=self.config.concat_planes)
        return text, torch.from_numpy(pooled)

    @property
    def method(self) -> Method:
        """The training method behind nnU-Net's network."""
        module = self.network.module if self.is_ddp else self.network
        return module.method

    def configure_optimizers(self) -> tuple[OptimizerSet, RatePerIteration]:
        """Return the method's own optimizers; the method sets their rates at every iteration."""
        return OptimizerSet(self.method.optimizers(), gradient_clip=self.config.gradient_clip), RatePerIteration()

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
        if self.fold != "all":
            splits = len(load_json(str(self.rada.splits_file)))
            if int(self.fold) >= splits:
                raise UserError(
                    f"fold {self.fold} does not exist, the dataset has {splits}; give 0 to {splits - 1} or all"
                )
        training, validation = super().do_split()
        return training, [case for case in validation if self.cases.cases[case].labelled]

    @property
    def labelled_training_cases(self) -> list[str]:
        """Labelled cases of this fold's training list."""
        return [case for case in self.do_split()[0] if self.cases.cases[case].labelled]

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> Any:  # noqa: N802 (nnU-Net's name)
        """Use nnU-Net's augmentation, without mirroring where left and right are different classes."""
        rotation, dummy_2d, initial_patch, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        axes = mirror_axes(self.config, self.cases, self.plans_manager.transpose_forward)
        self.inference_allowed_mirroring_axes = axes
        return rotation, dummy_2d, initial_patch, axes

    def get_dataloaders(self) -> tuple[Any, Any]:
        """Prepare the side volumes, then start the two-stream loaders where this run stands."""
        folder = Path(self.preprocessed_dataset_folder)
        dataset = self.dataset_class(str(folder))
        if self.local_rank == 0:
            truth = Path(self.preprocessed_dataset_folder_base) / "gt_segmentations"
            spacing = self.configuration_manager.spacing
            sources = labelled_sources(self.cases, self.rada, dataset, truth, self.plans_manager, spacing)
            tools = Tools.of_plans(self.plans_manager, self.configuration_manager, self.label_manager.ignore_label)
            prepare(sources, folder / SIDE_FOLDER, tools, num_processes=default_num_processes)
        if self.is_ddp:
            dist.barrier()

        config, patch, workers = self.config, self.configuration_manager.patch_size, get_allowed_n_proc_DA()
        rotation, dummy_2d, initial_patch, axes = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        masks = self.configuration_manager.use_mask_for_norm
        stock = self.get_training_transforms(patch, rotation, None, axes, dummy_2d, use_mask_for_norm=masks)
        training, validation = self._streams()

        def loader(stream: Stream, cut: Any, transforms: Any, per_epoch: int, num_workers: int) -> Any:
            made = TwoStreamLoader(
                dataset, folder / SIDE_FOLDER, stream, initial_patch_size=cut, patch_size=patch,
                label_manager=self.label_manager, transforms=transforms,
                first_iteration=self.current_epoch * per_epoch, num_workers=num_workers,
            )  # fmt: skip
            return start_loader(made, pin_memory=self.device.type == "cuda")

        return (
            loader(training, initial_patch, follow_augmentation(stock), config.iterations_per_epoch, workers),
            loader(validation, patch, None, config.val_iterations_per_epoch, min(1, workers)),
        )

    def _streams(self) -> tuple[Stream, Stream]:
        """Return what the training and the validation loader draw."""
        training, validation = self.do_split()
        labelled = self.labelled_training_cases
        unlabelled = [case for case in training if not self.cases.cases[case].labelled]
        if not labelled:
            raise UserError(f"fold {self.fold} has no labelled training case; annotate slices of at least one scan")
        if not unlabelled:
            self.print_to_log_file("WARNING: no unlabelled scans; the labelled ones serve as the unlabelled stream too")
        if len(labelled) == 1 and validation == labelled:
            self.print_to_log_file("WARNING: one labelled scan, which validates itself; validation Dice means little")
        common = {
            "views": [VIEWS.index(view) for view in self.method.views],
            "fused": self.config.pseudo_labels == "fused",
            "foreground_fraction": self.config.foreground_fraction,
            "batch_labelled": self.config.batch_labelled,
            "seed": self.config.seed,
            "rank": self.local_rank,
        }
        return (
            Stream(
                labelled=labelled, unlabelled=unlabelled or labelled,
                batch_unlabelled=self.config.batch_unlabelled, stream=TRAINING_BATCH, **common,
            ),
            Stream(labelled=validation, unlabelled=[], batch_unlabelled=0, stream=VALIDATION_BATCH, **common),
        )  # fmt: skip

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
        if self._other_embeddings:
            raise UserError(
                f"{self.output_folder_base} was trained with other embeddings ({self._other_embeddings}); "
                "make the former again with rada-embed, or move the folder or set another nnUNet_results"
            )
        super().on_train_start()
        self.print_to_log_file(f"RADA config: {self.config.to_json()}")
        self.print_to_log_file(f"Embeddings: {self.section.encoder}")

    def _batch(self, loaded: dict[str, Any]) -> Batch:
        tensors = {name: loaded[name].to(self.device, non_blocking=True) for name in _BATCH_TENSORS}
        return Batch(**tensors, image_embedding=self._own_embeddings(loaded["keys"]))

    def _own_embeddings(self, cases: list[str]) -> torch.Tensor | None:
        """[B, K, D]: labelled samples' own E_v where the config says `per_case`; NaN rows take the pooled one."""
        if self.prompts is None or not self.config.image_prompt or self.config.image_embedding == "pooled":
            return None
        labelled = set(self.labelled_training_cases)
        pooled = self.prompts.pooled_image_embedding(sorted(labelled), concat=self.config.concat_planes)
        rows = [
            self.prompts.case_image_embedding(case, fallback=pooled, concat=self.config.concat_planes)
            if case in labelled
            else np.full_like(pooled, np.nan)
            for case in cases
        ]
        return torch.from_numpy(np.stack(rows)).to(self.device)

    @ends_cleanly
    def train_step(self, batch: dict[str, Any]) -> dict[str, float]:
        """Run one iteration of the method: one optimizer update per loss that it yields."""
        iteration = batch["iteration"]
        seed_all(self.config.seed, TRAINING_STEP, iteration, self.local_rank)
        self.optimizer.set_learning_rates(self.method.learning_rate(iteration))
        steps = self.method.step(self._batch(batch), iteration)
        losses = []
        while True:
            with autocast(self.device.type, enabled=self.device.type == "cuda"):
                named_loss = next(steps, None)
            if named_loss is None:
                break
            name, loss = named_loss
            if not torch.isfinite(loss):
                raise UserError(
                    f"the loss of {name} is {float(loss)} at iteration {iteration}; the last checkpoint is kept; "
                    "look for broken intensities in the batch's cases " + ", ".join(batch["keys"])
                )
            self.optimizer.update(name, loss, self.grad_scaler)
            losses.append(loss.detach())
        if self.grad_scaler is not None:
            self.grad_scaler.update()
        names = list(self.method.scalars)
        values = torch.stack(
            [torch.stack(losses).mean(), *(self.method.scalars[name].to(self.device) for name in names)]
        )
        return dict(zip(["loss", *names], values.tolist(), strict=True))

    def on_train_epoch_end(self, train_outputs: list[dict[str, float]]) -> None:
        """Keep the epoch's mean of every scalar that the method recorded."""
        super().on_train_epoch_end([{"loss": output["loss"]} for output in train_outputs])
        for name in train_outputs[0]:
            if name != "loss":
                self.curves.append(name, float(np.mean([output[name] for output in train_outputs])), self.current_epoch)

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Measure the ensemble and each network on annotated voxels."""
        image = batch["image"].to(self.device, non_blocking=True)
        annotation = batch["annotation"].to(self.device, non_blocking=True).long()
        with autocast(self.device.type, enabled=self.device.type == "cuda"):
            ensemble = self.network(image).float()
            branches = {name: network(image).argmax(1) for name, network in self.method.networks.items()}
        known = (annotation != UNKNOWN).sum().clamp(min=1)
        loss = F.cross_entropy(ensemble, annotation, ignore_index=UNKNOWN, reduction="sum") / known
        classes = self.label_manager.foreground_labels
        counts = dict(zip(_HARD, annotated_counts(ensemble.argmax(1), annotation, classes), strict=True))
        for name, label in branches.items():
            counts[_BRANCH + name] = annotated_counts(label, annotation, classes)
        return {"loss": float(loss), **counts}

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Keep each network's Dice, beside nnU-Net's own record of the ensemble's."""
        for key in [key for key in val_outputs[0] if key.startswith(_BRANCH)]:
            dice = mean_dice(np.sum([output.pop(key) for output in val_outputs], axis=0))
            self.curves.append(f"dice/{key.removeprefix(_BRANCH)}", dice, self.current_epoch)
        super().on_validation_epoch_end(val_outputs)

    def on_epoch_end(self) -> None:
        """Write the curves beside nnU-Net's progress.png."""
        self.curves.log(self.print_to_log_file)
        super().on_epoch_end()
        if self.local_rank == 0:
            self.curves.write(Path(self.output_folder))

    # ---- checkpoints ------------------------------------------------------------------------------------------------

    @ends_cleanly
    def save_checkpoint(self, filename: str) -> None:
        """Add the method's own state to nnU-Net's checkpoint; write it atomically."""
        if self.local_rank != 0 or self.disable_checkpointing:
            return super().save_checkpoint(filename)
        with atomic_path(Path(filename)) as final, atomic_path(Path(f"{filename}.stock")) as stock:
            super().save_checkpoint(str(stock))
            checkpoint = torch.load(stock, map_location="cpu", weights_only=False)
            checkpoint["method_state"] = self.method.method_state()
            checkpoint["rada"] = self.section.to_json()
            torch.save(checkpoint, final)
        return None

    @ends_cleanly
    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        """Load nnU-Net's part, then the method's own state."""
        super().load_checkpoint(filename_or_checkpoint)
        checkpoint = torch.load(filename_or_checkpoint, map_location=self.device, weights_only=False)
        self.method.load_method_state(checkpoint["method_state"])
        self.curves = Curves(self.logger.local_logger.my_fantastic_logging)
