"""Records for other people's dashboards, written by their own libraries; nothing here is in the training loop."""
