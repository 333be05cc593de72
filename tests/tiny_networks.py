"""Networks and layers as if they had been trained: what they show depends on what they see."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from saliency_cli.models.streaming import StreamingTSFPNet

__all__ = ["awake", "measured"]


def awake(network: StreamingTSFPNet) -> StreamingTSFPNet:
    """The same network, ready to predict, with batch statistics of noise and a motion branch that does something.

    Fresh from its initialisation, a deep network whose statistics were never measured hardly sees its input.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(4, 1, 3, 64, 96, generator=torch.Generator().manual_seed(9)))
    for opinion in network.motion.opinions:
        head = list(opinion.children())[-1]
        assert isinstance(head, nn.Conv2d)
        nn.init.normal_(head.weight, std=0.5)
    nn.init.uniform_(network.motion.sharpness, 0.8, 1.2)
    return network.eval()


def measured(norm: _BatchNorm) -> _BatchNorm:
    """The same normalisation, in evaluation mode, with values in which nothing is 0 or 1."""
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        assert tensor is not None
        nn.init.normal_(tensor)
    assert norm.running_var is not None
    nn.init.uniform_(norm.running_var, 0.1, 3)
    return norm.eval()
