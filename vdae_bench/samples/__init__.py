"""Samples of a trained model and what they are worth: pictures, their quality in numbers, and the latents behind them."""
