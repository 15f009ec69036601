"""Making manifests of what others publish: folders, data sets of the Hugging Face hub, Kaldi's
directories.
"""
