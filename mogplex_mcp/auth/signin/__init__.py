"""Ways to find out who sits at the browser; each ends in an account and its credential."""
