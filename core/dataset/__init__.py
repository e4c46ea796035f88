"""Pictures and captions: from folders to batches."""
