"""Models: encoders (pictures → features), temporal models (features → outputs), and bundles."""

import os

# onnxruntime's packages report to their maker what they run on, from its import on, unless this
# is set before. Nothing of a user's cameras is to leave the machine unasked, not even that.
# https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
