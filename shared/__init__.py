"""The Lambda layer: what every function of the pipeline shares. Imports nothing from `functions` or `local`."""
