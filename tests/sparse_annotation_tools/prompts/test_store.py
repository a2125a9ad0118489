"""The file of embeddings is checked when read, and pooled as documented."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.store import PromptStore, l2_normalised

CLASSES = ("kidney", "tumour")
ABSENT = np.nan


def rows(*values: object) -> np.ndarray:
    """Return a float32 array of rows; a row given as nan is an absent class."""
    return np.array([[ABSENT] * 2 if value is ABSENT else value for value in values], np.float32)


def make_store(planes: str = "A", normalise: str = "l2") -> PromptStore:
    """Two cases in the plane; case b shows the tumour on its coronal slice only, case c nowhere."""
    return PromptStore(
        classes=CLASSES,
        text_kt=rows([1, 0], [0, 1]),
        images={
            "a": {"axial": rows([1, 0], [0, 1]), "coronal": rows([0, 1], [0, 1])},
            "b": {"axial": rows([0, 1], ABSENT), "coronal": rows([0, 1], [1, 0])},
            "c": {"axial": rows([1, 0], ABSENT), "axial.1": rows([0, 1], ABSENT)},
        },
        metadata={"encoder": "random", "prompt_planes": planes, "normalise": normalise},
    )


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    """Tensors, classes and metadata survive; the same content gives the same bytes."""
    store, path = make_store(), tmp_path / "prompts.safetensors"
    store.save(path)
    again = PromptStore.load(path, classes=CLASSES)
    np.testing.assert_array_equal(again.images["b"]["axial"], store.images["b"]["axial"])
    assert (again.classes, again.encoder) == (CLASSES, "random")
    first = path.read_bytes()
    for _ in range(5):  # safetensors itself writes metadata in random order
        replace(again, images=dict(reversed(again.images.items()))).save(path)
        assert path.read_bytes() == first


def test_pooling_is_the_normalised_mean_over_cases() -> None:
    """Two orthogonal embeddings give their bisector, of length 1."""
    pooled = make_store().pooled_image_embedding(["a", "b"])
    np.testing.assert_allclose(pooled[0], [0.5**0.5, 0.5**0.5], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=1), 1, rtol=1e-6)


def test_pooling_does_not_depend_on_the_order_of_cases() -> None:
    """A mean is symmetric."""
    store = make_store()
    np.testing.assert_allclose(
        store.pooled_image_embedding(["a", "b", "c"]), store.pooled_image_embedding(["c", "a", "b"]), rtol=1e-6
    )


def test_cases_that_are_not_pooled_have_no_influence() -> None:
    """Another embedding of a held-out case changes not one bit."""
    store = make_store()
    changed = replace(store, images={**store.images, "b": {"axial": rows([-3, 7], [2, 2])}})
    np.testing.assert_array_equal(store.pooled_image_embedding(["a"]), changed.pooled_image_embedding(["a"]))


def test_raw_embeddings_are_averaged_as_they_are() -> None:
    """With `raw` nothing is scaled."""
    pooled = make_store(normalise="raw").pooled_image_embedding(["a", "b"])
    np.testing.assert_allclose(pooled[0], [0.5, 0.5])


@pytest.mark.parametrize(
    ("normalise", "text", "image"),
    [({}, [0.6, 0.8], [0, 1]), ({"normalise": "l2"}, [0.6, 0.8], [0, 1]), ({"normalise": "raw"}, [3, 4], [0, 20])],
)
def test_a_file_is_read_as_its_normalisation_says(
    tmp_path: Path, normalise: dict[str, str], text: list[float], image: list[float]
) -> None:
    """Rows of text and image alike: of length 1 unless the file says raw, where not a bit changes."""
    path = tmp_path / "p.safetensors"
    tensors = {
        "text": rows([3, 4], [5, 0]),
        "image/a/axial": rows([0, 20], ABSENT),
        "image/b/axial": rows(*[[1, 0]] * 2),
    }
    save_file(tensors, path, metadata={**METADATA, **normalise})
    store = PromptStore.load(path)
    np.testing.assert_array_equal(store.text_kt[0], np.array(text, np.float32))
    np.testing.assert_array_equal(store.images["a"]["axial"], rows(image, ABSENT))
    np.testing.assert_array_equal(store.case_image_embedding("a", fallback=rows([9, 9], [9, 9]))[0], image)


def test_reading_what_was_written_does_not_scale_again(tmp_path: Path) -> None:
    """Embeddings of length 1 come back bit for bit, however often they are copied."""
    path = tmp_path / "p.safetensors"
    odd = np.random.default_rng(0).normal(size=(2, 512)).astype(np.float32)
    store = replace(make_store(), text_kt=odd, images={"a": {"axial": odd}}).normalised()
    store.save(path)
    np.testing.assert_array_equal(PromptStore.load(path).text_kt, store.text_kt)
    np.testing.assert_array_equal(PromptStore.load(path).images["a"]["axial"], store.images["a"]["axial"])


def test_a_repeated_plane_is_that_plane() -> None:
    """AA equals A, as embeddings of the named planes are averaged."""
    np.testing.assert_array_equal(
        make_store("AA").pooled_image_embedding(["a"]), make_store("A").pooled_image_embedding(["a"])
    )


def test_two_planes_are_averaged() -> None:
    """AC is the bisector of the axial and the coronal slice."""
    np.testing.assert_allclose(make_store("AC").pooled_image_embedding(["a"])[0], [0.5**0.5] * 2, rtol=1e-6)


def test_concat_sets_the_planes_beside_each_other() -> None:
    """AC gives the axial embedding, then the coronal one; AA gives the axial one twice."""
    np.testing.assert_allclose(make_store("AC").pooled_image_embedding(["a"], concat=True)[0], [1, 0, 0, 1])
    np.testing.assert_allclose(make_store("AA").pooled_image_embedding(["a"], concat=True)[0], [1, 0, 1, 0])
    assert make_store("AC").image_size_pooled(concat=True) == 4
    assert make_store("AC").image_size_pooled() == 2


def test_a_class_that_is_not_on_the_prompt_plane_comes_from_another_slice_of_the_case() -> None:
    """Case b's tumour is taken from its coronal slice, and the log says so."""
    store = make_store()
    np.testing.assert_allclose(store.case_image_embedding("b")[1], [1, 0])
    assert store.absences(["b"]) == ["b: tumour is not on a prompt plane; embedded from coronal"]


def test_a_class_that_a_case_does_not_show_leaves_the_mean_alone() -> None:
    """Case c has no tumour: the tumour's mean is that of case a."""
    store = make_store()
    np.testing.assert_array_equal(store.pooled_image_embedding(["a", "c"])[1], store.pooled_image_embedding(["a"])[1])
    assert "left out" in store.absences(["c"])[0]


def test_a_class_that_a_case_does_not_show_takes_the_fallback() -> None:
    """Alone, case c has no tumour embedding; with the fold's pooled one it takes that row."""
    store = make_store()
    pooled = store.pooled_image_embedding(["a", "c"])
    np.testing.assert_array_equal(store.case_image_embedding("c", fallback=pooled)[1], pooled[1])
    with pytest.raises(UserError, match="tumour is on no annotated slice of case c"):
        store.case_image_embedding("c")


def test_a_class_that_no_pooled_case_shows_is_refused() -> None:
    """NaN never reaches a network."""
    with pytest.raises(UserError, match="tumour is on no annotated slice of the 1 labelled cases"):
        make_store().pooled_image_embedding(["c"])


def test_pooling_over_an_unknown_or_no_case_is_refused() -> None:
    """Both say what to do."""
    with pytest.raises(UserError, match="no case z"):
        make_store().pooled_image_embedding(["z"])
    with pytest.raises(UserError, match="at least one case"):
        make_store().pooled_image_embedding([])


def test_rows_of_nan_and_of_zeros_survive_normalisation() -> None:
    """Absent stays absent, and a zero does not become NaN."""
    scaled = l2_normalised(rows([3, 4], ABSENT, [0, 0]))
    np.testing.assert_allclose(scaled, rows([0.6, 0.8], ABSENT, [0, 0]), rtol=1e-6)


def test_other_classes_are_refused(tmp_path: Path) -> None:
    """Both lists are in the message; their order counts."""
    make_store().save(tmp_path / "p.safetensors")
    with pytest.raises(UserError, match="kidney, tumour, but the dataset's are tumour, kidney"):
        PromptStore.load(tmp_path / "p.safetensors", classes=["tumour", "kidney"])


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """It names the command."""
    with pytest.raises(UserError, match="rada-embed -d"):
        PromptStore.load(tmp_path / "p.safetensors")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """Half a file is not read."""
    path = tmp_path / "p.safetensors"
    make_store().save(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="no whole"):
        PromptStore.load(path)


METADATA = {"schema_version": "1", "encoder": "mine", "classes": '["kidney", "tumour"]'}
GOOD = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"image/a/axial": GOOD}, METADATA, "no tensor 'text'"),
        ({"text": GOOD}, METADATA, "no image embedding"),
        ({"text": GOOD, "image/a/axial": GOOD.astype(np.float64)}, METADATA, "float64"),
        ({"text": GOOD, "image/a/axial": GOOD[:1]}, METADATA, "one row for each of the 2 classes"),
        ({"text": GOOD, "image/a/axial": GOOD, "image/b/axial": GOOD[:, :2]}, METADATA, "2 columns"),
        ({"text": GOOD, "image/a/oblique": GOOD}, METADATA, "image/CASE/VIEW"),
        ({"text": GOOD, "image/a/axial": np.array([[1, 1, ABSENT]] * 2, np.float32)}, METADATA, "infinite or NaN"),
        ({"text": GOOD * np.float32(ABSENT), "image/a/axial": GOOD}, METADATA, "infinite or NaN"),
        ({"text": GOOD * 0, "image/a/axial": GOOD}, METADATA, "'text' has a row of zeros"),
        ({"text": GOOD, "image/a/axial": GOOD * 0}, METADATA, "'image/a/axial' has a row of zeros"),
        ({"text": GOOD, "image/a/axial": GOOD * np.float32(1e30)}, METADATA, r"a row of length .*e\+30"),
        ({"text": GOOD * np.float32(1e-30), "image/a/axial": GOOD}, METADATA, "a row of length .*e-30"),
        ({"text": GOOD, "image/a/axial": GOOD}, {**METADATA, "schema_version": "9"}, "schema_version 9"),
        (
            {"text": GOOD, "image/a/axial": GOOD},
            {"schema_version": "1", "encoder": "mine"},
            "no metadata field classes",
        ),
        ({"text": GOOD, "image/a/axial": GOOD}, {**METADATA, "classes": "kidney"}, "JSON list"),
        ({"text": GOOD, "image/a/axial": GOOD}, {**METADATA, "prompt_planes": "X"}, "letters of A, C, S"),
        ({"text": GOOD, "image/a/axial": GOOD}, {**METADATA, "normalise": "l1"}, "l2 or raw"),
    ],
)
def test_a_file_with_a_fault_is_refused(
    tmp_path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str], message: str
) -> None:
    """Each fault has its own line."""
    path = tmp_path / "p.safetensors"
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(UserError, match=message):
        PromptStore.load(path)


def test_a_file_made_elsewhere_needs_three_metadata_fields(tmp_path: Path) -> None:
    """Prompt planes and normalisation have defaults."""
    path = tmp_path / "p.safetensors"
    save_file({"text": GOOD, "image/a/axial": GOOD}, path, metadata=METADATA)
    store = PromptStore.load(path)
    assert (store.prompt_planes, store.normalise, store.stamp) == (("axial",), "l2", "")
    assert load_file(path).keys() == {"text", "image/a/axial"}
