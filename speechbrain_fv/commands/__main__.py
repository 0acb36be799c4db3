"""`python -m speechbrain_fv.commands` is the command `speechbrain-fv`."""

import sys

from speechbrain_fv.commands import main

sys.exit(main())
