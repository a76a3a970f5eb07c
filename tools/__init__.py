"""What the project's people run by hand or in the build. Nothing that is deployed imports it."""
