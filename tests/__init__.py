"""The tests of the package: ``trial tests``."""

import os

# A relative path: in trial's directory, where the tests run, and not in the checkout.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", "hypothesis")
