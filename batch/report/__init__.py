"""The page of a replay: one HTML file with pictures, which needs nothing from elsewhere."""
