"""Where frames come from: cameras, files, rendered scenes.

A `Source` yields every decoded frame with its times; a `Sampler` picks the ones to analyse.
`grammar` turns what a user types into sources.
"""
