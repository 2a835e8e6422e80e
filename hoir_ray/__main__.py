"""`python -m hoir_ray` is `hoir`."""

import sys
from pathlib import Path

# Python puts the current folder first, where a file of the user's may be named like a package.
if sys.path and sys.path[0] in ("", str(Path.cwd())) and not Path("hoir_ray", "__main__.py").exists():
    del sys.path[0]

from hoir_ray.cli.main import main

if __name__ == "__main__":
    main()
