"""`python -m convnext` is the command `convnext`."""

import sys

from convnext.cli.main import main

sys.exit(main())
