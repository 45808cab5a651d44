"""A training step as CUDA graphs.

A step of this model launches some ten thousand small kernels, so an ordinary loop is bound by the launches (a quarter of a second
a step, the device a quarter busy). Each combination of shapes is captured once: its forward and backward pass become one graph, clipping
and the optimizers another. Inputs are copied into fixed buffers before a replay. All graphs share one memory pool, because only one runs at a time.
"""

from __future__ import annotations

from collections import defaultdict

import torch


class GraphedStep:
    """run(key, inputs) replays what compute(key, inputs) and update() would do.

    compute(key, inputs) returns a dict of scalar tensors, one of them 'loss', without waiting for the device; inputs is a list of dicts of
    tensors whose shapes the key determines."""

    def __init__(self, parameters: list, compute, update):
        self.parameters, self.compute, self.update = parameters, compute, update
        self.graphs: dict = {}
        self.update_graph = None
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream()
        for p in parameters:
            p.grad = torch.zeros_like(p)

    def _pass(self, key, inputs, kept: dict) -> None:
        torch._foreach_zero_([p.grad for p in self.parameters])
        out = self.compute(key, inputs)
        out["loss"].backward()
        for name, x in out.items():
            kept[name].copy_(x.detach())

    def _capture(self, key, inputs) -> None:
        fixed = [{name: x.clone() for name, x in part.items()} for part in inputs]
        kept = defaultdict(lambda: torch.zeros((), device=self.parameters[0].device))     # outside of the pool, which the next graph writes over
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(2 if not self.graphs else 1):
                self._pass(key, fixed, kept)
        torch.cuda.current_stream().wait_stream(self.stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
            self._pass(key, fixed, kept)
        self.graphs[key] = (graph, fixed, kept)

    def run(self, key, inputs: list) -> dict:
        if key not in self.graphs:
            self._capture(key, inputs)
        graph, fixed, kept = self.graphs[key]
        for part, source in zip(fixed, inputs):
            for name, x in part.items():
                x.copy_(source[name])
        graph.replay()
        if self.update_graph is None:
            self.update()                       # makes the optimizers' state
            self.update_graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.update_graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                self.update()
        else:
            self.update_graph.replay()
        return kept
