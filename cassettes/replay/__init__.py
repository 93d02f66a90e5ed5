"""Answering from a cassette: matching requests, pacing answers, playing faults."""
