"""Temporal models: features of a frame and the state before it → outputs and the state after it.

`lstm` is the network, in torch, for training and export; `onnx` and `torch` serve it; `registry`
opens one from a bundle.
"""
