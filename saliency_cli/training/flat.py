"""Three-dimensional modules in their two-dimensional forms, for training on a CPU, and networks that look at pictures.

All of S3D's kernels lie either in space or in time: the ones are convolutions of single frames, the others of (k, 1)
kernels where a picture's places stand side by side. In channels-last memory both are views, and nothing is copied. The
reason to train so: torch's gradients of three-dimensional convolutions in bf16 are wrong on CPUs (2.13), those of
these forms are right, and in bf16 they are faster than the others in fp32; in fp32 they are not.

Modules keep their parameters and names: only their class is exchanged, for one that computes the same otherwise. The
tensors between them are (B, C, T, H, W) as ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from saliency_cli.models.layers import Resizing
from saliency_cli.models.tased import TASEDNet, TrilinearUpsampling, Unpooling
from saliency_cli.models.tsfp import TSFPNet

__all__ = ["PictureNetwork", "Taps", "as_picture_network", "flatten"]

N = TypeVar("N", bound=nn.Module)

Taps = Literal["middle", "sum"]
"""What a picture sees of a padded kernel over time: its middle tap, or all of them added up."""


def _frames(x: Tensor) -> Tensor:
    """(B, C, T, H, W) to (B·T, C, H, W)."""
    b, c, t, h, w = x.shape
    return x.permute(0, 2, 3, 4, 1).reshape(b * t, h, w, c).permute(0, 3, 1, 2)


def _from_frames(x: Tensor, batch: int) -> Tensor:
    """(B·T, C, H, W) to (B, C, T, H, W)."""
    n, c, h, w = x.shape
    return x.permute(0, 2, 3, 1).reshape(batch, n // batch, h, w, c).permute(0, 4, 1, 2, 3)


def _tracks(x: Tensor) -> Tensor:
    """(B, C, T, H, W) to (B, C, T, H·W): each place a column of its own."""
    b, c, t, h, w = x.shape
    return x.permute(0, 2, 3, 4, 1).reshape(b, t, h * w, c).permute(0, 3, 1, 2)


def _from_tracks(x: Tensor, height: int, width: int) -> Tensor:
    """(B, C, T, H·W) to (B, C, T, H, W)."""
    b, c, t, _ = x.shape
    return x.permute(0, 2, 3, 1).reshape(b, t, height, width, c).permute(0, 4, 1, 2, 3)


def _channels_last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


def _three(value: int | tuple[int, ...] | None) -> tuple[int, int, int]:
    """A pooling's number for all three axes, or its three."""
    if isinstance(value, tuple):
        t, h, w = value
        return t, h, w
    return (value or 0,) * 3


class FlatConv3d(nn.Conv3d):
    """A convolution over space, over time, or, with stride 1 in time, over both: a kernel's frames become channels."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, T, H, W) to (B, C_out, T', H', W')."""
        (kt, kh, kw), (st, *stride), (pt, *padding) = self.kernel_size, self.stride, _numbers(self.padding)
        b, _, t, h, w = input.shape
        if kt == st == 1 and pt == 0:
            found = functional.conv2d(_frames(input), self.weight[:, :, 0], self.bias, stride, padding)
            return _from_frames(found, b)
        if kh == kw == 1 and stride == [1, 1] and padding == [0, 0]:
            if self.out_channels == 1 and kt == t and pt == 0:  # a head: one sum over times and channels
                summed = torch.einsum("bcthw,oct->bohw", input, self.weight[..., 0, 0])
                bias = 0 if self.bias is None else self.bias.view(1, -1, 1, 1)
                return (summed + bias).unsqueeze(2)
            found = functional.conv2d(_tracks(input), self.weight[..., 0], self.bias, (st, 1), (pt, 0))
            return _from_tracks(found, h, w)
        if st != 1:
            return super().forward(input)
        padded = functional.pad(input, (0, 0, 0, 0, pt, pt))
        length = t + 2 * pt - kt + 1
        beside = torch.cat([padded[:, :, tap : tap + length] for tap in range(kt)], 1)  # (B, k·C, T', H, W)
        beside = beside.contiguous(memory_format=torch.channels_last_3d)
        kernel = torch.cat([self.weight[:, :, tap] for tap in range(kt)], 1)  # (C_out, k·C, k, k)
        return _from_frames(functional.conv2d(_frames(beside), kernel, self.bias, stride, padding), b)


class FlatConvTranspose3d(nn.ConvTranspose3d):
    """A transposed convolution over space, frame by frame."""

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """(B, C, T, H, W) to (B, C_out, T, H', W')."""
        padding = _numbers(self.padding)
        if self.kernel_size[0] != 1 or self.stride[0] != 1 or padding[0] or output_size is not None:
            return super().forward(input, list(output_size) if output_size is not None else None)
        found = functional.conv_transpose2d(
            _frames(input), self.weight[:, :, 0], self.bias, self.stride[1:], padding[1:], self.output_padding[1:]
        )
        return _from_frames(found, input.shape[0])


class FlatMaxPool3d(nn.MaxPool3d):
    """The maximum over space, then the one over time: where values are equal, torch's choice."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, T, H, W) to (B, C, T', H', W')."""
        (kt, *size), (st, *stride), (pt, *padding) = _three(self.kernel_size), _three(self.stride), _three(self.padding)
        b, x = input.shape[0], input
        if max(*size, *stride) > 1:
            x = _from_frames(functional.max_pool2d(_frames(x), size, stride, padding), b)
        if max(kt, st) > 1:
            pooled = functional.max_pool2d(_tracks(x), (kt, 1), (st, 1), (pt, 0))
            x = _from_tracks(pooled, *x.shape[3:])
        return x


class FlatBatchNorm3d(nn.BatchNorm3d):
    """The same statistics over frames that stand in a row."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Frames have four dimensions, clips five; both are right."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, T, H, W), and so the result."""
        return _from_frames(super().forward(_frames(input)), input.shape[0])


class FlatReLU(nn.ReLU):
    """Out of place, and its gradient in the memory order of its input.

    Kernels that get their two inputs in different orders take twenty times longer.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; clips are (B, C, T, H, W)."""
        if input.ndim != 5:
            return functional.relu(input)
        result = functional.relu(_frames(input))
        if result.requires_grad:
            result.register_hook(_channels_last)  # type: ignore[no-untyped-call]
        return _from_frames(result, input.shape[0])


class FlatUnpooling(Unpooling):
    """Unpooling by a scatter in each frame; of places that are named twice the last counts, as in torch's."""

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(B, C, D, h, w), and the encoder's (B, C, t, 2h, 2w), to (B, C, D, 2h, 2w)."""
        pool = self.spatial
        size, stride, padding = (_three(each)[1:] for each in (pool.kernel_size, pool.stride, pool.padding))
        with torch.no_grad():
            pooled = self.temporal(level.detach())  # (B, C, D, 2h, 2w)
            _, switches = functional.max_pool2d(_frames(pooled), size, stride, padding, return_indices=True)
        values = _frames(x)  # (B·D, C, h, w)
        n, c, _, _ = values.shape
        height, width = pooled.shape[3:]
        empty = values.new_zeros(n, c, height * width)
        found = empty.scatter(2, switches.reshape(n, c, -1), values.reshape(n, c, -1)).view(n, c, height, width)
        return _from_frames(found.contiguous(memory_format=torch.channels_last), x.shape[0])


class FlatResizing(Resizing):
    """Bilinear in space, then linear in time: trilinear."""

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """(B, C, T, H, W) to (B, C, *size)."""
        t, h, w = size
        if x.shape[3:] != torch.Size((h, w)):
            enlarged = functional.interpolate(_frames(x), size=(h, w), mode="bilinear", align_corners=False)
            x = _from_frames(enlarged, x.shape[0])
        if x.shape[2] != t:
            longer = functional.interpolate(_tracks(x), size=(t, h * w), mode="bilinear", align_corners=False)
            x = _from_tracks(longer, h, w)
        return x


class FlatTrilinearUpsampling(TrilinearUpsampling):
    """Time stays: bilinear."""

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(B, C, D, h, w) to (B, C, D, 2h, 2w)."""
        found = functional.interpolate(_frames(x), scale_factor=2, mode="bilinear", align_corners=False)
        return _from_frames(found, x.shape[0])


FLAT: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.Conv3d: FlatConv3d,
    nn.ConvTranspose3d: FlatConvTranspose3d,
    nn.MaxPool3d: FlatMaxPool3d,
    nn.BatchNorm3d: FlatBatchNorm3d,
    nn.ReLU: FlatReLU,
    Unpooling: FlatUnpooling,
    Resizing: FlatResizing,
    TrilinearUpsampling: FlatTrilinearUpsampling,
}


def flatten(network: N) -> N:
    """The same network, whose three-dimensional modules compute in two dimensions from now on.

    What no S3D has, such as groups and dilations, has no flat form here and is left to torch.
    """
    return _exchange(network, FLAT)


def _exchange(network: N, kinds: Mapping[type[nn.Module], type[nn.Module]]) -> N:
    for module in network.modules():
        kind = kinds.get(type(module))
        if kind is not None and _is_plain(module):
            module.__class__ = kind  # its parameters stay where they are
    return network


def _is_plain(module: nn.Module) -> bool:
    """Whether a convolution or pooling has none of the options that its flat form would pass over."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        numbers = (module.groups, *module.dilation)
        return set(numbers) == {1} and module.padding_mode == "zeros" and isinstance(module.padding, tuple)
    if isinstance(module, nn.MaxPool3d):
        return set(_three(module.dilation)) == {1} and not module.ceil_mode and not module.return_indices
    return True


class PictureConv3d(FlatConv3d):
    """What a convolution makes of a clip of one frame, which stands for one in which nothing moves.

    A kernel without padding over time, which joins frames, is added up. Of one with padding see :data:`Taps`.
    """

    taps: Taps = "middle"

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, 1, H, W) to (B, C_out, 1, H', W')."""
        padding = _numbers(self.padding)
        middle = padding[0] > 0 and self.taps == "middle"
        kernel = self.weight[:, :, self.kernel_size[0] // 2] if middle else self.weight.sum(2)
        return functional.conv2d(input[:, :, 0], kernel, self.bias, self.stride[1:], padding[1:]).unsqueeze(2)


class PictureMaxPool3d(FlatMaxPool3d):
    """The maximum over space: that over time is the frame's own."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, 1, H, W) to (B, C, 1, H', W')."""
        size, stride, padding = (_three(each)[1:] for each in (self.kernel_size, self.stride, self.padding))
        return functional.max_pool2d(input[:, :, 0], size, stride, padding).unsqueeze(2)


class PictureResizing(FlatResizing):
    """Time is not doubled."""

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """(B, C, 1, H, W) to (B, C, 1, *size[1:])."""
        return super().forward(x, (1, *size[1:]))


PICTURE: Mapping[type[nn.Module], type[nn.Module]] = {
    FlatConv3d: PictureConv3d,
    FlatMaxPool3d: PictureMaxPool3d,
    FlatResizing: PictureResizing,
}


class PictureNetwork(nn.Module):
    """TSFP-Net or TASED-Net as it sees still pictures: as a clip in which nothing moves, at the cost of one frame.

    Where ``taps`` is "sum" it gives the maps of such a clip, as far as the clip's ends are far: beyond them is nothing,
    which kernels with padding notice. Where it is "middle", it does so exactly for kernels whose other taps are 0.

    Args:
        network: shares its parameters, and takes no clips from now on.
    """

    def __init__(self, network: TSFPNet | TASEDNet, *, taps: Taps = "middle") -> None:
        super().__init__()
        self.network = as_picture_network(network, taps=taps)

    def forward(self, pictures: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Normalised RGB (B, 3, H, W), H and W multiples of 32, to maps and features.

        Returns:
            Probabilities (B, H, W), and what base1 … base4 gave: (B, 192 / 480 / 832 / 1024, H/4 … H/32, W/4 … W/32).
        """
        network, clip = self.network, pictures.unsqueeze(2)
        levels: tuple[Tensor, ...]
        if isinstance(network, TSFPNet):
            levels = network.encoder(clip)
            saliency = network.mapped(network.decode(levels))
        else:
            level1 = network.base1(clip)
            level2 = network.base2(network.maxp2(level1))
            level3 = network.base3(network.maxp3(level2))
            level4 = network.base4(network.maxp4(network.maxt4(level3)))
            levels = (level1, level2, level3, level4)
            saliency = network.decode(*levels)
        return saliency, tuple(level[:, :, 0] for level in levels)


def as_picture_network(network: N, *, taps: Taps = "middle") -> N:
    """The same network, for clips of one frame each that stand for still pictures; see :class:`PictureNetwork`."""
    for module in _exchange(flatten(network), PICTURE).modules():
        if isinstance(module, PictureConv3d):
            module.taps = taps
    return network


def _numbers(padding: str | tuple[int, ...]) -> tuple[int, ...]:
    """A convolution's padding, which in these networks is never a word."""
    return cast("tuple[int, ...]", padding)
