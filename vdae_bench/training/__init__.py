"""Training: noise as an input, schedules by step, Adam per replica, checkpoints, and the engine that ties them."""
