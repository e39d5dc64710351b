#!/usr/bin/python3
"""The command `ray`, as the wheel's installer would have made it."""
import sys

from ray.scripts.scripts import main

sys.exit(main())
