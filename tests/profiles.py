"""How many examples hypothesis tries: few in `make test`, 10 000 of each kind with HYPOTHESIS_PROFILE=deep."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_SHARED = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
}
_NAME = os.environ.get("HYPOTHESIS_PROFILE", "quick")

settings.register_profile("quick", settings(max_examples=100, **_SHARED))
settings.register_profile("deep", settings(max_examples=10_000, **_SHARED))
settings.load_profile(_NAME)

# For examples that take long, such as a whole assistant.
slow = settings(max_examples=10_000 if _NAME == "deep" else 50)
