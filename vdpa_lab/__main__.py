"""`python -m vdpa_lab` is the command `vdpa-lab`."""

from vdpa_lab.cli import main

raise SystemExit(main())
