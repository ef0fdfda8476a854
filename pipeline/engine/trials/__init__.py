"""Trials: a candidate beside the stable version under one name, watched while both answer."""
