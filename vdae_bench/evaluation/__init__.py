"""Samples of a trained model and what they are worth: pictures, quality in numbers, and the latents behind them."""
