"""Temporal models: features of a frame and the state before it → outputs and the state after it.

`network` is the model in torch, for training and export, made of `cells`, in one or two
`directions`, and a head for `anomaly` scores; `onnx` and
`torch` serve it; `registry` opens one from a bundle.
"""
