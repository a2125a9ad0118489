"""A folder of predictions against a folder of truths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from sparse_annotation_tools.evaluation.evaluate import Evaluation, evaluate_pairs
from sparse_annotation_tools.evaluation.metrics import METRICS, mask_metrics
from sparse_annotation_tools.files.label_maps import LabelMap, Labels, Pair

SPACING_MM = (2.0, 1.0, 0.5)
ATRIUM = Labels(classes={"atrium": 1})


def _box(*corner: int, size: int = 6, value: int = 1) -> LabelMap:
    label_map = np.zeros((16, 18, 20), dtype=np.uint8)
    label_map[tuple(slice(start, start + size) for start in corner)] = value
    return label_map


def _pairs(folder: Path, cases: dict[str, tuple[LabelMap, LabelMap]]) -> list[Pair]:
    """Write cases given as (prediction, truth)."""
    pairs = []
    for case, arrays in cases.items():
        paths = [folder / f"{case}_{role}.nii.gz" for role in ("prediction", "truth")]
        for path, array in zip(paths, arrays, strict=True):
            image = SimpleITK.GetImageFromArray(array)
            image.SetSpacing(SPACING_MM[::-1])
            SimpleITK.WriteImage(image, str(path))
        pairs.append(Pair(case=case, prediction=paths[0], truth=paths[1]))
    return pairs


@pytest.fixture
def mixed(tmp_path: Path) -> Evaluation:
    """Two plain cases, one empty prediction, and one case with nothing to find and nothing found."""
    nothing = np.zeros_like(_box(0, 0, 0))
    cases = {
        "near": (_box(4, 5, 6), _box(4, 5, 7)),
        "far": (_box(1, 5, 6), _box(5, 5, 6)),
        "missed": (nothing, _box(4, 5, 6)),
        "healthy": (nothing, nothing),
    }
    return evaluate_pairs(_pairs(tmp_path, cases), ATRIUM)


def test_each_case_is_measured_by_its_spacing(mixed: Evaluation) -> None:
    """A file's measures are those of its mask and its spacing in array order."""
    expected = mask_metrics(_box(4, 5, 6) == 1, _box(4, 5, 7) == 1, SPACING_MM)
    assert mixed.measures("near", "atrium") == pytest.approx(expected)


def test_an_empty_prediction_lowers_dice_and_leaves_distances_out(mixed: Evaluation) -> None:
    """Its Dice of 0 is in the mean; the mean distance is that of the two cases that have one; it is counted."""
    near, far = (mixed.measures(case, "atrium") for case in ("near", "far"))
    mean = mixed.mean("atrium")
    assert mean["dice"] == pytest.approx((near["dice"] + far["dice"] + 0) / 3)
    assert mean["hd95_mm"] == pytest.approx((near["hd95_mm"] + far["hd95_mm"]) / 2)
    assert mixed.number_defined("atrium") == {name: 3 if name in ("dice", "jaccard") else 2 for name in METRICS}
    assert mixed.empty_predictions("atrium") == 1
    assert mixed.both_empty("atrium") == 1


def test_the_standard_deviation_divides_by_n_minus_one(mixed: Evaluation) -> None:
    """Two values are |a - b| / sqrt(2) apart from their mean."""
    near, far = (mixed.measures(case, "atrium")["hd95_mm"] for case in ("near", "far"))
    assert mixed.sd("atrium")["hd95_mm"] == pytest.approx(abs(near - far) / 2**0.5)


def test_the_result_file_has_the_promised_shape(mixed: Evaluation) -> None:
    """Definitions, cases, mean, sd and the number of empty predictions; what is undefined is null."""
    content = mixed.to_json()
    assert set(METRICS) == set(content["cases"]["near"]["atrium"]) == set(content["mean"]["atrium"])
    assert set(content["sd"]) == {"atrium"}
    assert content["empty_predictions"] == 1
    assert content["cases"]["missed"]["atrium"]["dice"] == 0
    assert content["cases"]["missed"]["atrium"]["hd95_mm"] is None
    assert content["cases"]["healthy"]["atrium"]["dice"] is None
    for word in ("dice", "jaccard", "hd95", "asd", "assd", "voxel", "mm", "post-processing of predictions"):
        assert content["definitions"][word]


def test_one_case_has_no_standard_deviation(tmp_path: Path) -> None:
    """n - 1 is 0: null, not 0."""
    one = evaluate_pairs(_pairs(tmp_path, {"a": (_box(4, 5, 6), _box(4, 5, 7))}), ATRIUM)
    assert set(one.to_json()["sd"]["atrium"].values()) == {None}


def test_processes_change_nothing(tmp_path: Path) -> None:
    """Two processes give what one gives, in the same order."""
    pairs = _pairs(tmp_path, {f"case{i}": (_box(i, 5, 6), _box(4, 5, 6)) for i in range(4)})
    assert evaluate_pairs(pairs, ATRIUM, processes=2).to_json() == evaluate_pairs(pairs, ATRIUM, processes=1).to_json()


def test_without_names_classes_are_the_values_that_occur(tmp_path: Path) -> None:
    """A value of any one case is a class of all; values sort as numbers."""
    cases = {"a": (_box(4, 5, 6, value=10), _box(4, 5, 6, value=10)), "b": (_box(4, 5, 6), _box(4, 5, 6, value=2))}
    evaluation = evaluate_pairs(_pairs(tmp_path, cases), Labels())
    assert list(evaluation.classes) == ["1", "2", "10"]
    assert evaluation.measures("a", "10")["dice"] == 1
    assert np.isnan(evaluation.measures("a", "2")["dice"])
    assert evaluation.empty_predictions("2") == 1


def test_voxels_that_the_truth_ignores_count_for_nothing(tmp_path: Path) -> None:
    """Changing the prediction there changes nothing; such a case has overlap but no distances."""
    truth = _box(4, 5, 6)
    truth[:, 8:] = 2
    right, elsewhere = _box(4, 5, 6), _box(4, 5, 6)
    elsewhere[:, 8:] = 1
    labels = Labels(classes={"atrium": 1}, ignore=2)
    evaluation = evaluate_pairs(_pairs(tmp_path, {"a": (right, truth), "b": (elsewhere, truth)}), labels)
    for case in ("a", "b"):
        measures = evaluation.measures(case, "atrium")
        assert measures["dice"] == measures["jaccard"] == 1
        assert all(np.isnan(measures[name]) for name in METRICS[2:])
    assert evaluation.to_json()["partly_annotated"] == ["a", "b"]


def test_the_largest_component_is_kept_only_when_asked(tmp_path: Path) -> None:
    """A speck far off costs distance; with the option it is gone, and the result file says so."""
    prediction = _box(4, 5, 6)
    prediction[15, 17, 19] = 1
    pairs = _pairs(tmp_path, {"a": (prediction, _box(4, 5, 6))})
    plain, kept = (evaluate_pairs(pairs, ATRIUM, keep_largest_component=keep) for keep in (False, True))
    assert plain.measures("a", "atrium")["asd_mm"] > 0
    assert kept.measures("a", "atrium")["asd_mm"] == 0
    definition = "post-processing of predictions"
    assert plain.to_json()["definitions"][definition] == "none"
    assert "largest" in kept.to_json()["definitions"][definition]


def test_the_largest_component_is_found_per_class(tmp_path: Path) -> None:
    """A small class is not thrown away beside a large one."""
    prediction = _box(4, 5, 6) + _box(12, 13, 14, size=2, value=2)
    pairs = _pairs(tmp_path, {"a": (prediction, prediction)})
    labels = Labels(classes={"atrium": 1, "aorta": 2})
    evaluation = evaluate_pairs(pairs, labels, keep_largest_component=True)
    assert evaluation.measures("a", "atrium")["dice"] == evaluation.measures("a", "aorta")["dice"] == 1
