"""Tools for maintainers and the build. Deployed code must not import them."""
