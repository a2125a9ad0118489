"""Several optimizers behind one, alone and over two processes."""

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing, nn

from nnunetv2_rada.optimization import OptimizerSet


def make(gradient_clip=None):
    """Two named linear layers with an optimizer each."""
    torch.manual_seed(0)
    layers = nn.ModuleDict({name: nn.Linear(3, 1) for name in ("a", "b")})
    optimizers = {name: torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9) for name, layer in layers.items()}
    return layers, OptimizerSet(optimizers, gradient_clip=gradient_clip)


def test_an_update_touches_its_own_network_alone():
    """Optimizer `a` leaves network `b` as it was."""
    layers, optimizers = make()
    before = layers["b"].weight.clone()
    optimizers.update("a", layers["a"](torch.ones(2, 3)).sum() + layers["b"](torch.ones(2, 3)).sum(), None)
    assert torch.equal(layers["b"].weight, before)
    assert layers["a"].weight.grad.abs().sum() > 0


def test_gradients_are_clipped_per_optimizer():
    """The norm of what one optimizer applies is bounded; null bounds nothing."""
    for clip, bounded in ((1.0, True), (None, False)):
        layers, optimizers = make(clip)
        optimizers.update("a", 1000 * layers["a"](torch.ones(2, 3)).sum(), None)
        norm = torch.cat([parameter.grad.flatten() for parameter in layers["a"].parameters()]).norm()
        assert (norm <= 1.001) == bounded


@pytest.mark.parametrize("clip", [1.0, None])
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_changes_nothing(clip, broken):
    """The loss may be finite all the same; weights and momentum stay what they were."""
    layers, optimizers = make(clip)
    layers["a"].weight.register_hook(lambda gradient: gradient * broken)
    before = layers["a"].weight.clone()
    with pytest.raises(FloatingPointError, match=r"^the gradient of a is (nan|inf)$"):
        optimizers.update("a", layers["a"](torch.ones(2, 3)).sum(), None)
    assert torch.equal(layers["a"].weight, before)
    assert not optimizers.optimizers["a"].state


def test_rates_are_set_by_name_and_state_comes_back():
    """Loading the saved state goes on with the same momentum."""
    layers, optimizers = make()
    optimizers.set_learning_rates({"a": 0.5, "b": 0.25})
    assert [group["lr"] for group in optimizers.param_groups] == [0.5, 0.25]
    optimizers.update("a", layers["a"](torch.ones(2, 3)).sum(), None)
    _, fresh = make()
    fresh.load_state_dict(optimizers.state_dict())
    momenta = [next(iter(s.optimizers["a"].state.values()))["momentum_buffer"] for s in (optimizers, fresh)]
    assert torch.equal(*momenta)


INPUTS = torch.tensor([[1.0, 2.0, 3.0], [-4.0, 0.5, 1.0]])


def _train_rank(rank, address, queue):
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    layers, optimizers = make()
    optimizers.update("a", layers["a"](INPUTS[rank : rank + 1]).square().mean(), None)
    queue.put((rank, layers["a"].weight.detach().tolist()))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_take_the_step_of_their_mean_gradient(tmp_path):
    """Each of two gloo processes sees half of the batch; both end where one process with all of it ends."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    address = f"file://{tmp_path}/rendezvous"
    processes = [context.Process(target=_train_rank, args=(rank, address, queue)) for rank in range(2)]
    for process in processes:
        process.start()
    weights = [weight for _, weight in sorted(queue.get(timeout=120) for _ in processes)]
    for process in processes:
        process.join(60)
    layers, optimizers = make()
    optimizers.update("a", layers["a"](INPUTS).square().mean(), None)
    expected = layers["a"].weight.detach()
    for weight in weights:
        torch.testing.assert_close(torch.tensor(weight), expected)
