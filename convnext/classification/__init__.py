"""Any number of images -> one table of predictions or embeddings, resumable."""
