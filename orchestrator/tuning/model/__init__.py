"""The frozen model: loading, its families and decoder, its kernels, and the cache of encoder
frames.
"""
