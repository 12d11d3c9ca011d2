"""``python -m mogplex_mcp_shim``."""

import sys

from mogplex_mcp_shim.cli import main

sys.exit(main())
