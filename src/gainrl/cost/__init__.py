"""What a preset will cost on a cluster."""
