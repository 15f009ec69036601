"""The speech data of a sweep: manifests, recordings, and the diagnosis of data sets."""
