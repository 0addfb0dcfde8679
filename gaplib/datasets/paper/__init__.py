"""The eight datasets of the source paper, which a reader downloads: one module each, `downloaded` what they share."""
