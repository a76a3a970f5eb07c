"""Run the cloud on a laptop: this project's own template, functions and state machine in a stand-in for AWS.

Nothing outside `local/` imports it. It knows the template's outputs and parameters, and nothing else of the project.
"""
