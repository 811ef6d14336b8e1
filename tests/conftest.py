"""What every test shares: the real servers, and hypothesis's profiles."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers.fixtures"]

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
settings.register_profile("campaign", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=3000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
