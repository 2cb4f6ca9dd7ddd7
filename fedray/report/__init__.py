"""Results read from run folders."""
