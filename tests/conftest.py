"""What all tests have in common."""

from hypothesis import HealthCheck, settings

settings.register_profile("fedray", suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no defect
settings.load_profile("fedray")
