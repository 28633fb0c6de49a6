"""`python -m convnext` is the command `convnext`."""

import sys

from convnext.cli import main

sys.exit(main())
