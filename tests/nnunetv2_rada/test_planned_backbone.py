"""nnU-Net's planned network as a backbone."""

from types import SimpleNamespace

import pytest
import torch

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import make_method
from nnunetv2_rada.planned_backbone import planned_backbones
from sparse_annotation_tools.errors import UserError

ARCHITECTURE = {
    "n_stages": 3, "features_per_stage": [4, 8, 12], "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "conv_bias": True, "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "dropout_op": None, "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
}  # fmt: skip
IMPORTS = ["conv_op", "norm_op", "dropout_op", "nonlin"]
PLAIN = {"n_conv_per_stage": [2, 2, 2], "n_conv_per_stage_decoder": [2, 2]}
RESIDUAL = {"n_blocks_per_stage": [1, 2, 2], "n_conv_per_stage_decoder": [1, 1]}
UNET = "dynamic_network_architectures.architectures.unet"


def configuration(name="PlainConvUNet", stages=PLAIN):
    """What a configuration manager says of the network."""
    return SimpleNamespace(
        network_arch_class_name=f"{UNET}.{name}", network_arch_init_kwargs={**ARCHITECTURE, **stages},
        network_arch_init_kwargs_req_import=IMPORTS,
    )  # fmt: skip


@pytest.mark.parametrize(("name", "stages"), [("PlainConvUNet", PLAIN), ("ResidualEncoderUNet", RESIDUAL)])
def test_both_maps_are_handed_out_after_dropout(name, stages):
    """Shapes follow the planned strides; whole channels are dropped in training and none in evaluation."""
    backbone = planned_backbones(configuration(name, stages), 2)()
    image = torch.randn(2, 2, 6, 8, 12)
    bottleneck, decoder = backbone(image)
    assert bottleneck.shape == (2, backbone.bottleneck_channels, 3, 2, 3) == (2, 12, 3, 2, 3)
    assert decoder.shape == (2, backbone.decoder_channels, 6, 8, 12) == (2, 4, 6, 8, 12)
    silent = torch.stack([(backbone(image)[tap].abs().amax(dim=(2, 3, 4)) == 0).float().mean() for tap in (0, 1)])
    assert (silent > 0).all()
    backbone.eval()
    assert torch.equal(backbone(image)[1], backbone(image)[1])


def test_no_weight_is_stored_that_nothing_reads():
    """Output layers are cut off, and the encoder is stored once."""
    backbone = planned_backbones(configuration(), 1)()
    assert not [name for name in backbone.state_dict() if "seg_layers" in name or "decoder.encoder" in name]
    backbone(torch.randn(1, 1, 4, 8, 8))[1].sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_three_planned_branches_train_and_differ(make_planned):
    """Each branch starts with weights of its own and gets a finite loss."""
    method, batch = make_planned()
    first, second, _ = (network.backbone.encoder.state_dict() for network in method.networks.values())
    name = next(iter(first))
    assert not torch.equal(first[name], second[name])
    losses = dict(method.step(batch, 0))
    assert set(losses) == set(method.views)
    assert all(torch.isfinite(loss) for loss in losses.values())
    with torch.no_grad():
        assert method.eval().predict(batch.image).shape == (4, 2, 4, 8, 8)


@pytest.fixture
def make_planned():
    """A method on planned backbones and a batch."""
    from nnunetv2_rada.method.base import Batch

    def make():
        torch.manual_seed(0)
        method = make_method(
            Config(text_prompt=False, image_prompt=False, stochastic_passes=2), in_channels=1, num_classes=2,
            text_dim=0, image_dim=0, views=("sagittal", "coronal", "axial"),
            make_backbone=planned_backbones(configuration(), 1),
        )  # fmt: skip
        label = torch.randint(0, 2, (2, 4, 8, 8), dtype=torch.int16)
        batch = Batch(
            image=torch.randn(4, 1, 4, 8, 8), label=label[:, None].expand(-1, 3, -1, -1, -1), annotation=label,
            distance=torch.zeros(2, 3, 4, 8, 8),
        )  # fmt: skip
        return method, batch

    return make


def test_a_network_that_cannot_be_tapped_is_refused(monkeypatch):
    """Other architectures may be planned by other planners."""
    other = torch.nn.Conv3d(1, 1, 1)
    monkeypatch.setattr("nnunetv2_rada.planned_backbone.get_network_from_plans", lambda *_, **__: other)
    with pytest.raises(UserError, match="no encoder and decoder to tap"):
        planned_backbones(configuration(), 1)()
