"""The frozen model: loading, families, decoder, kernels, and the cache of encoder frames."""
