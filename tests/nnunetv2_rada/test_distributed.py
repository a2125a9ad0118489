"""Several processes of one training."""

import pytest
from torch import distributed as dist
from torch import multiprocessing

from nnunetv2_rada.distributed import first_rank_first


def _make_once(rank, address, folder, queue):
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    made = False
    with first_rank_first():
        file = folder / "prepared"
        if not file.exists():
            file.write_text(str(rank))
            made = True
    queue.put((rank, made))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_what_the_first_process_made_the_second_finds(tmp_path):
    """Of two gloo processes, rank 0 makes the file and rank 1 makes none, however they are scheduled."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    address = f"file://{tmp_path}/rendezvous"
    processes = [context.Process(target=_make_once, args=(rank, address, tmp_path, queue)) for rank in (0, 1)]
    for process in processes:
        process.start()
    made = dict(queue.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(60)
    assert made == {0: True, 1: False}


def test_one_process_alone_runs_the_block():
    """Without a process group nothing waits."""
    with first_rank_first():
        ran = True
    assert ran
