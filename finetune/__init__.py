"""Fine-tunes BERT teachers."""
