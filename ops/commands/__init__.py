"""The commands, by subject. Each module adds its own to a group; docs/cli.md is generated from it."""
