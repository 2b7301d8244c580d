"""What a preset may say. No torch."""
