"""Where examples come from and who owns them."""
