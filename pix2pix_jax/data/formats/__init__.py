"""Image files: what is read from them and written to them."""
