"""What a text can be made of, for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

#: The characters of a text by default, which take Hypothesis a second to find in each process.
ENCODABLE = st.characters(exclude_categories=["Cs"])
