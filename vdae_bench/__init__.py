"""vdae-bench: reproduce "On the relationship between normalising flows and variational- and denoising autoencoders"."""

__version__ = "0.1.0"
