"""The cone effect and the modality gap of vision-language models: measures, the lambda shift, sweeps, an explorer.

The front doors: `features` (embeddings of a dataset by an encoder), `cone` and `gap` (measures), `modulate` (moves),
`sweep` (what a probe learns by lambda) and `explorer` (move it by hand); behind them `datasets` and `encoders`.
"""
