"""EfficientNet-Lite0, pretrained on ImageNet: the default encoder.

`model.onnx` is what runs, `encoder.json` describes it, `export.py` made both.
"""
