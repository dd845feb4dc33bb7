"""Web pages for HQ and compliance."""
