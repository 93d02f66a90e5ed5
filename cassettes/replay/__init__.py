"""Answers from a cassette: finds the recorded answer, sends it at the recorded pace, and plays faults."""
