from hypothesis import HealthCheck, settings

# A busy machine is slow, and that is no fault of a test's.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
