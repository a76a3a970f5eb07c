"""What holds for every test: nothing fails because a machine is slow."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")
