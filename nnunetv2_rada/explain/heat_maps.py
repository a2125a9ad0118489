"""Heat maps of every network of a trained model, for one scan and class, on the scan's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import insert_crop_into_image
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from numpy.typing import NDArray

from nnunetv2_rada.explain.grad_cam import grad_cam
from nnunetv2_rada.trained_model import method_of
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.volumes import Geometry, write_image

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor


@dataclass(frozen=True, kw_only=True)
class NetworkHeat:
    """What one network looks at, and what it predicts by itself. Arrays are [z, y, x] on the scan's grid.

    Attributes:
        network: its name.
        heat: float32, 0 to 1; 0 everywhere where it predicts none of the class.
        prediction: label map, without mirroring.
    """

    network: str
    heat: NDArray[np.float32]
    prediction: NDArray[np.integer[Any]]


def heat_maps(predictor: nnUNetPredictor, files: Sequence[str], *, value: int, layer: str) -> list[NetworkHeat]:
    """Explain one scan: preprocess it as nnU-Net does, and return a map of each network of the model.

    Args:
        predictor: an opened model of one fold.
        files: channels of the scan.
        value: of the class.
        layer: see `grad_cam`.

    Raises:
        UserError: the dataset is not read by SimpleITKIO, so array axes are not those of the files.
    """
    if predictor.plans_manager.image_reader_writer_class is not SimpleITKIO:
        reader = predictor.plans_manager.image_reader_writer_class.__name__
        raise UserError(f"the dataset is read by {reader}, expected SimpleITKIO as rada-make-sparse-dataset sets it")
    configuration = predictor.configuration_manager
    data, _, properties = configuration.preprocessor_class(verbose=False).run_case(
        list(files), None, predictor.plans_manager, configuration, predictor.dataset_json
    )
    image = torch.as_tensor(data, dtype=torch.float32, device=predictor.device)
    predictor.network.to(predictor.device)
    maps = []
    for name, network in method_of(predictor).networks.items():
        found = grad_cam(network, image, value=value, patch=configuration.patch_size, layer=layer)
        prediction = convert_predicted_logits_to_segmentation_with_correct_shape(
            found.logits.cpu(), predictor.plans_manager, configuration, predictor.label_manager, properties
        )
        heat = _on_scan(predictor, found.heat.cpu().numpy(), properties)
        maps.append(NetworkHeat(network=name, heat=heat, prediction=prediction))
    return maps


def write_heat(path: Path, heat: NDArray[np.float32], geometry: Geometry) -> None:
    """Write a map [z, y, x] as float32 on a scan's grid, atomically and whole."""
    image = sitk.GetImageFromArray(heat.astype(np.float32, copy=False))
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    write_image(path, image)


def _on_scan(predictor: nnUNetPredictor, heat: NDArray[np.float32], properties: dict[str, Any]) -> NDArray[np.float32]:
    """Undo resampling, cropping and transposing, as nnU-Net's export does with probabilities."""
    plans, configuration = predictor.plans_manager, predictor.configuration_manager
    resampled = configuration.resampling_fn_probabilities(
        heat[None],
        properties["shape_after_cropping_and_before_resampling"],
        configuration.spacing,
        [properties["spacing"][axis] for axis in plans.transpose_forward],
    )
    whole = np.zeros(properties["shape_before_cropping"], np.float32)
    whole = insert_crop_into_image(whole, np.asarray(resampled)[0], properties["bbox_used_for_cropping"])
    on_scan: NDArray[np.float32] = np.clip(whole.transpose(plans.transpose_backward), 0, 1)
    return on_scan
