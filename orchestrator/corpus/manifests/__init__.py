"""Lists of recordings with their texts, in whichever of the common forms, read and written."""
