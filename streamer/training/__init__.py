"""Training: from labelled video to a bundle that serves.

`annotations` and `synthetic` say what is to be seen, `checks` what is wrong with that, `features`
what the encoder makes of it (`external`: what another one made), `dataset` puts both together,
`fit` trains, `tuning` fits the decoder (`chain` and `filter_search` its filter over phases, `delay`
says what a lag is worth), `evaluate` measures, `export` writes the bundle, and `run` is the whole
path.
"""
