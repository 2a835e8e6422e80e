"""`python -m hoir_ray` is `hoir`."""

from hoir_ray.cli.main import main

if __name__ == "__main__":
    main()
