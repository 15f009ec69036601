"""Who may write to a study: locks of one host and of several."""
