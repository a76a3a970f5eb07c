"""Tools that maintainers run by hand or in the build. Deployed code must not import them."""
