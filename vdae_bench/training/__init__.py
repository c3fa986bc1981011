"""Training: schedules by step, Adam for each replica, checkpoints, and the trainer that ties them."""
