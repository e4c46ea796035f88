"""What a panel shows of pictures: concepts as cards, the report, a preview, the cache."""
