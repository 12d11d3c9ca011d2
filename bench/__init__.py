"""The benchmark: this server beside a bare proxy, over one tiny upstream, in one run (``python -m bench``)."""
