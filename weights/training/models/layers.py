"""Layers that both UNets, the motion modules and the autoencoder share."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class _GroupNormFunction(torch.autograd.Function):
    # PyTorch's own backward of group norm is slow on CPUs at these sizes.
    @staticmethod
    def forward(ctx, x, weight, bias, groups, eps):
        b, c = x.shape[:2]
        y, mean, rstd = torch.native_group_norm(
            x.contiguous(), weight, bias, b, c, x[0, 0].numel(), groups, eps)
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.groups = groups
        return y

    @staticmethod
    def backward(ctx, dy):
        x, weight, mean, rstd = ctx.saved_tensors
        b, c = x.shape[:2]
        g = ctx.groups
        n = x.numel() // (b * g)
        xf, dyf = x.reshape(b, c, -1), dy.reshape(b, c, -1)
        sum_dy = dyf.sum(2)
        sum_dyx = (dyf * xf).sum(2)
        per = c // g
        mu = mean.reshape(b, g, 1).expand(b, g, per).reshape(b, c)
        rs = rstd.reshape(b, g, 1).expand(b, g, per).reshape(b, c)
        sum_dyhat = (sum_dyx - mu * sum_dy) * rs
        dweight, dbias = sum_dyhat.sum(0), sum_dy.sum(0)
        a1 = (sum_dy * weight).reshape(b, g, per).sum(2) / n
        a2 = (sum_dyhat * weight).reshape(b, g, per).sum(2) / n
        a1 = a1[:, :, None].expand(b, g, per).reshape(b, c)
        a2 = a2[:, :, None].expand(b, g, per).reshape(b, c)
        # dx = rs * (w*dy - a1 - xhat*a2), written as three multiply-adds
        k_dy = rs * weight
        k_x = -rs * rs * a2
        k_0 = rs * (mu * rs * a2 - a1)
        dx = torch.addcmul(k_0[:, :, None], dyf, k_dy[:, :, None])
        dx.addcmul_(xf, k_x[:, :, None])
        return dx.reshape(x.shape), dweight, dbias, None, None


class GroupNorm(nn.GroupNorm):
    def forward(self, x):
        return _GroupNormFunction.apply(
            x, self.weight, self.bias, self.num_groups, self.eps)


def heads_attention(q, k, v, heads):
    """Plain multi-head attention; at these sizes it beats the fused one."""
    b, n, c = q.shape
    d = c // heads
    q = q.reshape(b, n, heads, d).transpose(1, 2)
    k = k.reshape(b, -1, heads, d).transpose(1, 2)
    v = v.reshape(b, -1, heads, d).transpose(1, 2)
    weights = torch.softmax((q * (1 / math.sqrt(d))) @ k.transpose(-1, -2), dim=-1)
    return (weights @ v).transpose(1, 2).reshape(b, n, c)


class Attention(nn.Module):
    def __init__(self, width, heads, context=None, bias=False):
        super().__init__()
        self.heads = heads
        context = context or width
        self.to_q = nn.Linear(width, width, bias=bias)
        self.to_k = nn.Linear(context, width, bias=bias)
        self.to_v = nn.Linear(context, width, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def attend(self, q, k, v):
        return self.to_out[0](heads_attention(q, k, v, self.heads))

    def forward(self, x, context=None):
        context = x if context is None else context
        return self.attend(self.to_q(x), self.to_k(context), self.to_v(context))


class _Gate(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.proj = nn.Linear(width, inner * 2)

    def forward(self, x):
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        # The empty middle keeps the official key names: net.0 and net.2.
        self.net = nn.ModuleList(
            [_Gate(width, width * 4), nn.Identity(), nn.Linear(width * 4, width)])

    def forward(self, x):
        return self.net[2](self.net[0](x))


class ResnetBlock(nn.Module):
    def __init__(self, c_in, c_out, groups, eps, time_width=None):
        super().__init__()
        self.norm1 = GroupNorm(groups, c_in, eps=eps)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        if time_width:
            self.time_emb_proj = nn.Linear(time_width, c_out)
        self.norm2 = GroupNorm(groups, c_out, eps=eps)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        if c_in != c_out:
            self.conv_shortcut = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x, time=None):
        h = self.conv1(F.silu(self.norm1(x)))
        if time is not None:
            h = h + self.time_emb_proj(time)[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        if hasattr(self, "conv_shortcut"):
            x = self.conv_shortcut(x)
        return x + h


class Downsample(nn.Module):
    def __init__(self, width, padding=1):
        super().__init__()
        self.padding = padding
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=padding)

    def forward(self, x):
        if self.padding == 0:
            x = F.pad(x, (0, 1, 0, 1))
        return self.conv(x)


class Upsample(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
