"""The cloud on a laptop: this project's own template, functions and state machine, deployed into a stand-in for AWS.

Nothing outside `local/` imports it. It knows the template's outputs and parameters by name, and the rest of the project
only through the template.
"""
