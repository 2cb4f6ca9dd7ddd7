"""Faults as data: settings, a plan decided before the run, and what each fault hits in a round."""
