"""Measurements. `uv run python -m bench` runs them all, prints tables and writes JSON to bench/results/.

Machines are noisy, so what is compared is measured in turn, round by round, in one run, and quoted as a ratio.
"""
