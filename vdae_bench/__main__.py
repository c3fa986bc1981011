"""`python -m vdae_bench` is `vdae-bench`."""

from vdae_bench.cli.main import main

if __name__ == "__main__":
    main()
