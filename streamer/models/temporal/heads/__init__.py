"""Heads: what stands on top of the recurrent layers beyond classes per frame.

`pooling` (a clip's class), `ctc` (phases known only in order), `regression`, `captioner` with its
`beam` search; `registry` makes the one a configuration names. Decoding of `ctc` needs no torch.
"""
