"""Mixed precision as the trainer uses it: one scaler or autocast around several networks and updates."""

import pytest
import torch
from torch import GradScaler

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import make_method
from nnunetv2_rada.method.base import Batch
from nnunetv2_rada.optimization import OptimizerSet

VIEWS = ("sagittal", "coronal", "axial")


def train(device, dtype, scaler, iterations=3):
    """Losses of a few iterations, and the method; each update goes through the scaler, if there is one."""
    torch.manual_seed(0)
    config = Config(base_filters=4, stochastic_passes=2, text_prompt=False, image_prompt=False)
    method = make_method(config, in_channels=1, num_classes=2, text_dim=0, image_dim=0, views=VIEWS).to(device)
    optimizers = OptimizerSet(method.optimizers(), gradient_clip=config.gradient_clip)
    label = (torch.randn(2, 16, 16, 16) > 0).to(torch.int16)
    image = torch.cat([label[:, None].float(), torch.randn(2, 1, 16, 16, 16)])
    distance = torch.zeros(2, 3, 16, 16, 16)
    batch = Batch(
        image=image.to(device), label=label[:, None].expand(-1, 3, -1, -1, -1).to(device), distance=distance.to(device),
        annotation=label.to(device),
    )  # fmt: skip
    losses = []
    for iteration in range(iterations):
        steps = method.step(batch, iteration)
        while True:
            with torch.autocast(device, dtype, enabled=dtype is not None):
                named_loss = next(steps, None)
            if named_loss is None:
                break
            assert named_loss[1].dtype == torch.float32
            optimizers.update(*named_loss, scaler)
            losses.append(float(named_loss[1]))
        if scaler is not None:
            scaler.update()
    return losses, method


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_a_gpu_follows_single_precision(dtype):
    """With one GradScaler over three updates an iteration: near losses, and no update skipped for an overflow."""
    exact, _ = train("cuda", None, None)
    scaler = GradScaler("cuda", init_scale=2.0**10)
    losses, _ = train("cuda", dtype, scaler)
    assert losses == pytest.approx(exact, rel=0.05)
    assert scaler.get_scale() == 2.0**10
