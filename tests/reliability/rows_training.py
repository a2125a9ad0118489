"""Rows of training whose tests lie beside the tests of what they are about; `rows_nnunet` holds the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """A row whose test lies elsewhere.

    Attributes:
        group: a heading of the document.
        name: what is wrong, in words.
        says: pieces of what is printed.
        test: file below `tests`, and function.
    """

    group: str
    name: str
    says: str
    test: str

    @property
    def file(self) -> str:
        """The test's file, below `tests`."""
        return self.test.split("::")[0]

    @property
    def function(self) -> str:
        """The test's function."""
        return self.test.split("::")[1]


def _pointers(group: str, *lines: tuple[str, str, str]) -> list[Pointer]:
    return [Pointer(group=group, name=name, says=says, test=test) for name, says, test in lines]


_CONFIG, _MAIN = "nnunetv2_rada/test_config.py", "end_to_end/test_main_job.py"
_CHECKPOINT, _NETWORK = "nnunetv2_rada/test_checkpoint.py", "nnunetv2_rada/test_network.py"
_TRAINER, _PLANS = "nnunetv2_rada/test_trainer.py", "nnunetv2_rada/test_plan_section.py"
_WRONG = f"{_CONFIG}::test_wrong_settings_say_what_was_expected"
_FILE = f"{_CONFIG}::test_a_config_file_that_is_missing_or_broken_is_named"
_OTHER = f"{_NETWORK}::test_weights_of_other_networks_end_with_one_line"

TRAINING = [
    *_pointers(
        "settings of a training",
        (
            "an unknown setting",
            "unknown setting base_filter; known are",
            f"{_MAIN}::test_an_unknown_setting_stops_training",
        ),
        ("a text for a number", "base_filters is '8', expected int", _WRONG),
        ("true for a number", "base_filters is True, expected int", _WRONG),
        ("a number out of range", "alpha is 1.5, expected cosine or a number from 0 to 1", _WRONG),
        ("iterations that are no whole epochs", "a multiple of iterations_per_epoch", _WRONG),
        ("RADA_CONFIG names no file", "does not exist; give a JSON file or unset RADA_CONFIG", _FILE),
        ("RADA_CONFIG is no JSON", "cannot be read as JSON", _FILE),
        (
            "a cascade stage",
            "is 2-D or a cascade stage, but RADA trains whole 3-D networks; give 3d_fullres or",
            "end_to_end/test_nnunet_trainings.py::test_a_low_resolution_configuration_trains_for_a_cascade",
        ),
    ),
    *_pointers(
        "data of a training",
        (
            "embeddings missing",
            "run rada-embed -d",
            f"{_MAIN}::test_missing_embeddings_stop_training_with_the_command_to_type",
        ),
        (
            "made with --encoder none",
            "run rada-embed -d",
            "nnunetv2_rada/test_embeddings.py::test_without_embeddings_only_trainers_that_use_none_go_on",
        ),
        (
            "no labelled case in the fold",
            "the fold has no labelled training case; annotate slices of",
            "nnunetv2_rada/data/test_streams.py::test_few_cases_are_warned_of_and_none_is_refused",
        ),
        (
            "side volumes that vanished",
            "side volumes of case ... run the same nnUNetv2_train command again with --c",
            "nnunetv2_rada/data/test_loader.py::test_a_file_that_vanished_comes_as_one_line_from_a_worker_too",
        ),
        (
            "a loss that is NaN",
            "the last checkpoint is kept; look for broken intensities in",
            f"{_TRAINER}::test_a_loss_that_is_nan_stops_training_with_one_line",
        ),
        (
            "patches too small for a normalization",
            "leave the network's coarsest layer one value a channel ... set batch_labelled",
            f"{_TRAINER}::test_a_batch_that_leaves_one_value_to_a_normalization_is_refused",
        ),
    ),
    *_pointers(
        "results folder of a training",
        (
            "another training at work in it",
            "is being written by process ... let it end, or end it",
            f"{_TRAINER}::test_a_second_training_in_one_folder_is_refused",
        ),
        (
            "trained with other settings",
            "base_filters 4 there, 8 now ... give --c",
            f"{_MAIN}::test_other_settings_in_a_used_results_folder_are_refused",
        ),
        (
            "trained with other embeddings",
            "was trained with other embeddings",
            f"{_MAIN}::test_other_embeddings_in_a_used_results_folder_are_refused",
        ),
        ("of another trainer", "has no readable rada section", f"{_PLANS}::test_a_foreign_model_folder_is_refused"),
        (
            "disk full at a checkpoint",
            "cannot be written ... the checkpoints before it are whole; make room",
            f"{_CHECKPOINT}::test_a_full_disk_keeps_the_checkpoint_before",
        ),
    ),
    *_pointers(
        "checkpoint",
        ("without weights", "is not in it", _OTHER),
        ("with weights of another network", "is only in it", _OTHER),
    ),
]
