"""Measurements. `uv run python -m bench` runs them all, prints tables and writes JSON to bench/results/.

Machines are noisy. So things that are compared are measured alternately, round by round in one run, and the result is a
ratio.
"""
