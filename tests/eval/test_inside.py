"""What is found inside a model: its weights, whatever else it holds."""

import torch

from ffbench_eval.models.inside import contents, parameter_count


class NoLength(tuple):
    """As irreducible representations of a well-known library are: a tuple whose length has no meaning."""

    def __len__(self):
        raise NotImplementedError


class Touchy:
    def __getattr__(self, name):
        raise RuntimeError("do not touch")


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.irreps = NoLength((1, 2))
        self.other = Touchy()
        self.linear = torch.nn.Linear(2, 3)


def test_odd_objects_in_a_model_do_not_hide_its_weights():
    network, odd = Network(), (NoLength((3,)), Touchy())

    def energy(batch):
        return network.linear(batch), odd

    before = contents(energy)
    assert before
    assert contents(network) == contents(network) != ""
    assert parameter_count(energy) == 9
    with torch.no_grad():
        network.linear.weight += 1.0
    assert contents(energy) != before
